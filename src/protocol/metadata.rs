//! What participants say of themselves: a bounded JSON object, merged key by key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Code, Refusal, limits};

/// A participant's metadata, e.g. `{"audio":true,"screen":false}`. The node reads none of it.
///
/// Bound: [`limits::METADATA_BYTES_MAX`] bytes of JSON. Cheap to clone: rows, rosters and news share it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(Arc<Map<String, Value>>);

impl Metadata {
    /// Checks the bound.
    ///
    /// # Errors
    /// [`Code::TooLarge`].
    pub fn checked(self) -> Result<Self, Refusal> {
        // Serialising a map of JSON values into memory cannot fail; were it to, the object counts as too large.
        let bytes = serde_json::to_vec(&*self.0).map_or(usize::MAX, |json| json.len());
        if bytes <= limits::METADATA_BYTES_MAX {
            Ok(self)
        } else {
            Err(Refusal::because(Code::TooLarge, "metadata is over 4096 bytes of JSON"))
        }
    }

    /// The object after `patch`: its keys replace, its `null`s delete (one level, as in RFC 7396).
    ///
    /// # Errors
    /// [`Code::TooLarge`] when the result is over the bound; `self` is then what it was.
    pub fn merged(&self, patch: &Self) -> Result<Self, Refusal> {
        let mut merged = (*self.0).clone();
        for (key, value) in &*patch.0 {
            if value.is_null() {
                merged.remove(key);
            } else {
                merged.insert(key.clone(), value.clone());
            }
        }
        Self(Arc::new(merged)).checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(json: &str) -> Metadata {
        serde_json::from_str(json).expect("test data")
    }

    #[test]
    fn a_patch_replaces_adds_and_deletes() {
        let merged = metadata(r#"{"a":1,"b":{"x":1}}"#)
            .merged(&metadata(r#"{"b":{"y":2},"a":null,"c":[null]}"#))
            .expect("small");
        assert_eq!(merged, metadata(r#"{"b":{"y":2},"c":[null]}"#));
    }

    #[test]
    fn many_small_patches_cannot_grow_past_the_bound() {
        let mut grown = Metadata::default();
        let refused =
            (0..).find(|key| match grown.merged(&metadata(&format!(r#"{{"k{key}":"0123456789"}}"#))) {
                Ok(merged) => {
                    grown = merged;
                    false
                }
                Err(refusal) => {
                    assert_eq!(refusal.code, Code::TooLarge);
                    true
                }
            });
        assert!(refused.is_some_and(|key| key > 100 && key < 400));
    }
}
