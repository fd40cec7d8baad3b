//! Addresses of other nodes.

use std::fmt;

use bitroster_types::limits::CLUSTER_ADDRESS_BYTES_MAX;
use serde::{Deserialize, Deserializer, Serialize};

/// A list of `host:port`: in a file a list of texts, elsewhere texts with commas between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Seeds(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a list such as [\"10.0.0.1:7380\", \"10.0.0.2:7380\"]")]
        enum Form {
            List(Vec<String>),
            Text(String),
        }
        let words = |text: &str| {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::List(list) => list,
            Form::Text(text) => words(&text),
        }))
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// Whether a text is `host:port`, the port not 0.
pub(crate) fn is_address(text: &str) -> bool {
    text.len() <= CLUSTER_ADDRESS_BYTES_MAX
        && text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_texts_are_taken() {
        let parse = |text: &str| {
            let table: toml::Table = text.parse().unwrap();
            Seeds::deserialize(table["v"].clone()).unwrap().0
        };
        assert_eq!(parse("v = [\"a:1\", \"b:2\"]"), ["a:1", "b:2"]);
        assert_eq!(parse("v = \"a:1, b:2,\""), ["a:1", "b:2"]);
        assert!(parse("v = \"\"").is_empty());
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert!(is_address("shard-1:7380") && is_address("[::1]:7380"));
        for bad in ["", "host", "host:", ":7380", "host:0", "host:99999"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
