//! The one place from which pauses take their chance.

use uuid::Uuid;

/// From 0 to 1.
pub fn chance() -> f64 {
    let [random, ..] = Uuid::new_v4().into_bytes();
    f64::from(random) / f64::from(u8::MAX)
}
