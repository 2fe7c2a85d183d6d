//! The way to the bucket: every request goes through here.

use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    Attributes, GetOptions, GetResult, MultipartId, ObjectMeta, ObjectStore as _, ObjectStoreExt as _,
    PutMode, PutMultipartOptions, PutOptions, PutResult, UpdateVersion,
    aws::AmazonS3,
    list::{PaginatedListOptions, PaginatedListStore as _},
    multipart::{MultipartStore as _, PartId},
    path::Path,
    signer::{SignedUrlOptions, Signer as _},
};
use tokio::sync::OnceCell;

use super::{
    desk::{Desk, Work},
    probe,
    settings::{S3Settings, S3Unusable},
    trouble::Trouble,
};
use crate::{
    adapters::{
        breaker::Breaker,
        chance::chance,
        clock::Clock,
        ports::{Guarded, StoreState},
    },
    metrics::Metrics,
};

/// Objects that one request takes away.
pub(super) const DELETED_AT_ONCE: usize = 1000;
/// Object whose date is the server's time.
const CLOCK: &str = "clock";

/// A bucket.
pub struct Bucket {
    pub(super) settings: S3Settings,
    desk: Desk,
    client: AmazonS3,
    signer: AmazonS3,
    breaker: Breaker,
    clock: Clock,
    metrics: Metrics,
    /// Set once the server was seen to obey conditions.
    conditions: OnceCell<()>,
}

impl Bucket {
    /// Looks at the bucket, whether these settings lead into it. One that is away is away, not an error: it may come back, and
    /// what needs no bucket goes on meanwhile.
    ///
    /// # Errors
    /// Says what is wrong with the settings, the rights or the bucket.
    pub async fn open(settings: S3Settings, clock: Clock, metrics: Metrics) -> Result<Arc<Self>, S3Unusable> {
        settings.check()?;
        let (client, signer) = (settings.client()?, settings.signer()?);
        let desk = Desk::open().map_err(|error| S3Unusable(format!("no thread for the bucket: {error}")))?;
        let (breaker, conditions) = (Breaker::default(), OnceCell::new());
        breaker.show(&metrics.s3_breaker);
        let bucket = Self { desk, client, signer, breaker, clock, metrics, conditions, settings };
        let bucket = Arc::new(bucket);
        let looked = bucket.run(|bucket| async move { probe::access(&bucket).await });
        bucket.judge(looked.await)?;
        Ok(bucket)
    }

    /// Does something with the bucket on its own thread; ends it when nobody waits for it any more.
    pub(super) fn run<T, E, F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F) -> Work<T, E>
    where
        T: Send + 'static,
        E: From<Trouble> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.desk.run(work(self.clone()))
    }

    /// The same, to its end.
    pub(super) fn finish<T, E, F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F) -> Work<T, E>
    where
        T: Send + 'static,
        E: From<Trouble> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.desk.finish(work(self.clone()))
    }

    /// What a look at the start comes to.
    pub(super) fn judge(&self, looked: Result<(), Trouble>) -> Result<(), S3Unusable> {
        match looked {
            Ok(()) => Ok(()),
            Err(trouble) if trouble.may_pass() => {
                let bucket = self.settings.place();
                tracing::warn!(bucket, error = %trouble, "the bucket cannot be looked at now");
                Ok(())
            }
            Err(trouble) => Err(S3Unusable(format!("{}: {trouble}", self.settings.place()))),
        }
    }

    /// Goes on only where the server obeys conditions. One that was away at the start is looked at when it is first needed.
    pub(super) async fn proven(&self) -> Result<(), Trouble> {
        self.obeys().await.inspect_err(|trouble| {
            if !trouble.may_pass() {
                tracing::error!(bucket = self.settings.place(), error = %trouble, "no chunk can be stored");
            }
        })
    }

    /// The same for whoever can do without.
    pub(super) async fn obeys(&self) -> Result<(), Trouble> {
        self.conditions.get_or_try_init(|| probe::conditions(self)).await.copied()
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.settings.place()
    }

    /// An object by its name below the prefix.
    pub(super) fn key(&self, name: &str) -> Path {
        Path::from(self.with_prefix(name))
    }

    fn with_prefix(&self, name: &str) -> String {
        match self.settings.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// Does a request, unless the server is left alone. `operation`: as metrics call it.
    pub(super) async fn ask<T>(
        &self,
        operation: &'static str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Trouble> {
        let began = self.clock.now().mono;
        let answer = if self.breaker.admits(began) {
            request.await.map_err(Trouble::from)
        } else {
            Err(Trouble::NotAsked)
        };
        self.note(operation, began, answer.as_ref().err());
        answer
    }

    fn note(&self, operation: &'static str, began: Duration, trouble: Option<&Trouble>) {
        let (now, outcome) = (self.clock.now().mono, trouble.map_or("ok", Trouble::outcome));
        self.metrics.s3_operations.with_label_values(&[operation, outcome]).inc();
        match trouble {
            Some(Trouble::NotAsked) => return,
            Some(trouble) if trouble.is_the_servers() => self.breaker.failed(now, chance()),
            Some(_) | None => self.breaker.succeeded(),
        }
        let took = now.saturating_sub(began);
        self.metrics.s3_duration.with_label_values(&[operation]).observe(took.as_secs_f64());
        self.breaker.show(&self.metrics.s3_breaker);
    }

    /// Writes an object, in the place of whatever is there.
    pub(super) async fn put(
        &self,
        name: &str,
        bytes: Bytes,
        about: Attributes,
    ) -> Result<PutResult, Trouble> {
        self.put_if(name, bytes, about, PutMode::Overwrite).await
    }

    /// Writes one where there is none; [`Trouble::Taken`] where there is, even if an answer was lost and it is this one.
    pub(super) async fn create(&self, name: &str, bytes: Bytes, about: Attributes) -> Result<(), Trouble> {
        self.put_if(name, bytes, about, PutMode::Create).await.map(drop)
    }

    /// Writes one in the place of that one; [`Trouble::Taken`] where it is another by now.
    pub(super) async fn replace(
        &self,
        name: &str,
        which: &Tag,
        bytes: Bytes,
        about: Attributes,
    ) -> Result<(), Trouble> {
        self.replace_tagged(name, which, bytes, about).await.map(drop)
    }

    /// The same for whoever wants to do so again.
    pub(super) async fn replace_tagged(
        &self,
        name: &str,
        which: &Tag,
        bytes: Bytes,
        about: Attributes,
    ) -> Result<PutResult, Trouble> {
        let version = UpdateVersion { e_tag: Some(which.0.clone()), version: None };
        self.put_if(name, bytes, about, PutMode::Update(version)).await
    }

    async fn put_if(
        &self,
        name: &str,
        bytes: Bytes,
        attributes: Attributes,
        mode: PutMode,
    ) -> Result<PutResult, Trouble> {
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let key = self.key(name);
        self.ask("put", self.client.put_opts(&key, bytes.into(), options)).await
    }

    /// Begins an object that comes in parts.
    pub(super) async fn begin(
        &self,
        name: &str,
        attributes: Attributes,
    ) -> Result<Box<dyn object_store::MultipartUpload>, Trouble> {
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let key = self.key(name);
        self.ask("begin", self.client.put_multipart_opts(&key, options)).await
    }

    /// The same, of which each part may come from another node, and which does not end by itself: what it is called.
    pub(super) async fn begin_parts(
        &self,
        name: &str,
        attributes: Attributes,
    ) -> Result<MultipartId, Trouble> {
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let key = self.key(name);
        self.ask("begin", self.client.create_multipart_opts(&key, options)).await
    }

    /// Sends a part of it. The first one is 1.
    pub(super) async fn put_part(
        &self,
        name: &str,
        upload: &MultipartId,
        number: u32,
        bytes: Bytes,
    ) -> Result<PartId, Trouble> {
        let (key, at) = (self.key(name), usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1));
        self.ask("part", self.client.put_part(&key, upload, at, bytes.into())).await
    }

    /// Makes it an object.
    pub(super) async fn complete_parts(
        &self,
        name: &str,
        upload: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult, Trouble> {
        let key = self.key(name);
        self.ask("complete", self.client.complete_multipart(&key, upload, parts)).await
    }

    /// Takes its parts away.
    pub(super) async fn abort_parts(&self, name: &str, upload: &str) -> Result<(), Trouble> {
        let (key, upload) = (self.key(name), upload.to_owned());
        self.ask("abort", self.client.abort_multipart(&key, &upload)).await
    }

    /// A whole object, or of one that is longer than this as much as shows it.
    pub(super) async fn read(&self, name: &str, longest: usize) -> Result<Object, Trouble> {
        let key = self.key(name);
        let read = async {
            let found = self.client.get_opts(&key, GetOptions::default()).await?;
            let tag = found.meta.e_tag.clone().map(Tag);
            let about = found.attributes.clone();
            let expected = found.meta.size;
            let mut bytes = Vec::new();
            let mut pieces = found.into_stream();
            while let Some(piece) = pieces.try_next().await? {
                bytes.extend_from_slice(&piece);
                if bytes.len() > longest {
                    bytes.truncate(longest + 1);
                    break;
                }
            }
            Ok((tag, about, expected, bytes))
        };
        let (tag, about, expected, bytes) = self.ask("get", read).await?;
        if bytes.len() <= longest && bytes.len() as u64 != expected {
            return Err(Trouble::Away(format!("{name}: {} of {expected} bytes came", bytes.len())));
        }
        Ok(Object { bytes: bytes.into(), about, tag })
    }

    /// A stretch of an object, as long as it is that one.
    pub(super) async fn read_range(
        &self,
        name: &str,
        range: Range<u64>,
        if_match: Option<String>,
    ) -> Result<Bytes, Trouble> {
        let (key, length) = (self.key(name), range.end - range.start);
        let options = GetOptions { if_match, ..GetOptions::default() }.with_range(Some(range));
        let read = async { self.client.get_opts(&key, options).await?.bytes().await };
        let bytes = self.ask("get", read).await?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        Err(Trouble::Away(format!("{name}: {} of {length} bytes came", bytes.len())))
    }

    /// A piece of an object, if it is still the one of this `ETag`.
    pub(super) async fn piece(
        &self,
        name: &str,
        piece: Range<u64>,
        tag: Option<String>,
    ) -> Result<Bytes, Trouble> {
        let (key, expected) = (self.key(name), piece.end - piece.start);
        let options = GetOptions { range: Some(piece.into()), if_match: tag, ..GetOptions::default() };
        let read = async { self.client.get_opts(&key, options).await?.bytes().await };
        let bytes = self.ask("get", read).await?;
        if bytes.len() as u64 != expected {
            return Err(Trouble::Away(format!("{name}: {} of {expected} bytes came", bytes.len())));
        }
        Ok(bytes)
    }

    /// What is known of an object without reading it.
    pub(super) async fn look(&self, name: &str) -> Result<GetResult, Trouble> {
        let key = self.key(name);
        self.ask("head", self.client.get_opts(&key, GetOptions { head: true, ..GetOptions::default() })).await
    }

    /// Takes an object away. Nothing there is no error.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Trouble> {
        let key = self.key(name);
        match self.ask("delete", self.client.delete(&key)).await {
            Err(Trouble::Missing(_)) => Ok(()),
            done => done,
        }
    }

    /// Takes many away, [`DELETED_AT_ONCE`] with each request.
    pub(super) async fn delete_all(&self, keys: Vec<Path>) -> Result<(), Trouble> {
        let keys = stream::iter(keys.into_iter().map(Ok)).boxed();
        self.ask("delete_many", self.client.delete_stream(keys).try_for_each(|_| async { Ok(()) })).await
    }

    /// Every object whose name begins so, in order of name and from after that one on, until `each` has enough.
    pub(super) async fn walk(
        &self,
        beginning: &str,
        after: Option<&str>,
        mut each: impl FnMut(ObjectMeta) -> ControlFlow<()>,
    ) -> Result<(), Trouble> {
        let beginning = self.with_prefix(beginning);
        let offset = after.map(|after| self.with_prefix(after));
        let mut page_token = None;
        loop {
            let (offset, page_token_now) = (offset.clone(), page_token.take());
            let options = PaginatedListOptions { offset, page_token: page_token_now, ..Default::default() };
            let page = self.ask("list", self.client.list_paginated(Some(&beginning), options)).await?;
            for object in page.result.objects {
                if each(object).is_break() {
                    return Ok(());
                }
            }
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(());
            }
        }
    }

    /// The folders below that one, as far as objects' names have any; each name ends with that of the folder.
    pub(super) async fn folders(&self, below: &str) -> Result<Vec<Path>, Trouble> {
        let below = self.key(below);
        let listed = self.ask("list", self.client.list_with_delimiter(Some(&below))).await?;
        Ok(listed.common_prefixes)
    }

    /// A link to an object, for whoever has it, that is good for a while. The server answers it with this `Content-Disposition`.
    pub(super) async fn link(&self, name: &str, disposition: String) -> Result<String, Trouble> {
        let (key, ttl) = (self.key(name), self.settings.link_ttl);
        let said = SignedUrlOptions::new().with_query([("response-content-disposition", disposition)]);
        let link = self.signer.signed_url_opts(reqwest::Method::GET, &key, ttl, &said).await?;
        Ok(link.into())
    }

    /// The server's time: that of an object written now. A node's own clock may be off.
    pub(super) async fn now(&self) -> Result<SystemTime, Trouble> {
        self.put(CLOCK, Bytes::new(), Attributes::new()).await?;
        Ok(self.look(CLOCK).await?.meta.last_modified.into())
    }
}

impl Guarded for Bucket {
    fn state(&self) -> StoreState {
        self.breaker.state()
    }
}

/// An object as it was read.
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) about: Attributes,
    tag: Option<Tag>,
}

/// What tells one state of an object from another (its `ETag`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag(pub(super) String);

impl Object {
    pub(super) fn tag(&self) -> Result<Tag, Trouble> {
        self.tag.clone().ok_or_else(|| Trouble::Unsuitable("the server gives no ETag".to_owned()))
    }
}

/// How old an object is.
pub(super) fn age(object: &ObjectMeta, now: SystemTime) -> Duration {
    now.duration_since(object.last_modified.into()).unwrap_or_default()
}
