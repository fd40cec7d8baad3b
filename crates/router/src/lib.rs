//! A command and a cluster map become a plan and a reply.
