//! Logs, the metric recorder, buckets and build information.
