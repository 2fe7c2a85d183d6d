//! Whether a bucket can be used at all: looked at at the start, by an object that is made for it and taken away again.

use std::ops::ControlFlow;

use bytes::Bytes;
use object_store::{Attribute, Attributes};
use uuid::Uuid;

use super::{
    bucket::{Bucket, Tag},
    trouble::Trouble,
};

/// Whether these settings lead into the bucket, with the right to write, read, list and delete.
pub(super) async fn access(bucket: &Bucket) -> Result<(), Trouble> {
    let (name, note) = (name(), Attribute::Metadata("probe".into()));
    let about = Attributes::from_iter([(note.clone(), "kept")]);
    bucket.put(&name, Bytes::from_static(b"probe"), about).await.map_err(of_a_new_object)?;
    bucket.read(&name, 5).await.map_err(of_a_new_object)?;
    let found = bucket.look(&name).await.map_err(of_a_new_object)?;
    // Without the right to list, what is not there looks like what is forbidden.
    bucket.walk(&name, None, |_| ControlFlow::Continue(())).await?;
    bucket.delete(&name).await?;
    match found.attributes.get(&note) {
        Some(_) => Ok(()),
        None => Err(Trouble::Unsuitable(
            "the server does not keep what stands with an object (x-amz-meta-)".to_owned(),
        )),
    }
}

/// Whether writes on a condition are refused where it does not hold. A server that knows no conditions would let a second
/// chunk take the place of the first (L-2).
pub(super) async fn conditions(bucket: &Bucket) -> Result<(), Trouble> {
    let name = name();
    let proven = prove_conditions(bucket, &name).await;
    // Left there, it is in nobody's way.
    let _ = bucket.delete(&name).await;
    proven
}

async fn prove_conditions(bucket: &Bucket, name: &str) -> Result<(), Trouble> {
    let put =
        |text: &'static str| bucket.create(name, Bytes::from_static(text.as_bytes()), Attributes::new());
    put("first").await.map_err(of_a_new_object)?;
    must_be_refused(put("second").await, "If-None-Match")?;
    let (other, bytes) =
        (Tag("\"00000000000000000000000000000000\"".to_owned()), Bytes::from_static(b"third"));
    must_be_refused(bucket.replace(name, &other, bytes, Attributes::new()).await, "If-Match")?;
    let stands = bucket.read(name, 5).await.map_err(of_a_new_object)?;
    stands.tag()?;
    if stands.bytes != b"first".as_slice() {
        return Err(Trouble::Unsuitable("the server writes what it says it refuses".to_owned()));
    }
    Ok(())
}

fn must_be_refused(answer: Result<(), Trouble>, condition: &str) -> Result<(), Trouble> {
    match answer {
        Err(Trouble::Taken(_)) => Ok(()),
        Err(other) => Err(other),
        Ok(()) => Err(Trouble::Unsuitable(format!(
            "chunks need a server that obeys {condition} when it writes; this one does not"
        ))),
    }
}

fn name() -> String {
    format!("probe-{}", Uuid::new_v4().simple())
}

/// What is not there, where it was just written, is not the object but the bucket.
fn of_a_new_object(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Missing(_) => Trouble::Refused("there is no such bucket".to_owned()),
        other => other,
    }
}
