//! Where the bucket is and how one gets in. Filled by the configuration, which names the settings.

use std::{fmt, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, Checksum},
};

/// Tries after the first one; each waits longer, by chance, so that nodes do not come together.
const RETRIES: usize = 3;
/// The longest wait between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A signature is good for a week at most (AWS Signature Version 4).
const LINK_TTL_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Everything a node has to know of its bucket.
#[derive(Clone)]
pub struct S3Settings {
    /// Its name.
    pub bucket: String,
    /// `http://` or `https://` and the server; `None`: that of AWS in the region.
    pub endpoint: Option<String>,
    /// The same as browsers reach it, for links; `None`: as nodes do.
    pub public_endpoint: Option<String>,
    /// Where the bucket is, as signatures name it.
    pub region: String,
    /// Whether the bucket's name stands in the path instead of in the server's name.
    pub path_style: bool,
    /// Who asks.
    pub access_key: String,
    /// Proves it.
    pub secret_key: String,
    /// Stands before the names of all objects, with a `/` between; empty: nothing.
    pub prefix: String,
    /// For how long a link is good.
    pub link_ttl: Duration,
    /// How long one request may take, with all its bytes.
    pub timeout: Duration,
}

/// Why a bucket cannot be used. The sentence names what is wrong, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct S3Unusable(pub String);

impl S3Settings {
    /// Whether they can be used at all. Connects to nothing.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn check(&self) -> Result<(), S3Unusable> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
        let segment = |part: &str| !part.is_empty() && part.chars().all(plain) && part != "." && part != "..";
        let wrong = |what: &str| Err(S3Unusable(what.to_owned()));
        if self.bucket.is_empty() || !self.bucket.chars().all(|c| plain(c) && c != '=') {
            return wrong("the bucket needs a name");
        }
        if !self.prefix.is_empty() && !self.prefix.split('/').all(segment) {
            return wrong("the prefix may have letters, digits, - _ . = and / between parts");
        }
        let endpoints = [&self.endpoint, &self.public_endpoint];
        if endpoints.into_iter().flatten().any(|url| host(url).is_none()) {
            return wrong("an endpoint is https:// or http:// and a server, without a path");
        }
        if self.access_key.is_empty() || self.secret_key.is_empty() {
            return wrong("access key and secret key are needed");
        }
        if self.link_ttl.is_zero() || self.link_ttl > LINK_TTL_MAX {
            return wrong("a link is good for at least a second and at most a week");
        }
        if self.timeout.is_zero() {
            return wrong("a request needs time");
        }
        Ok(())
    }

    /// A client for requests.
    pub(super) fn client(&self) -> Result<AmazonS3, S3Unusable> {
        self.client_at(self.endpoint.as_deref())
    }

    /// One that only signs links.
    pub(super) fn signer(&self) -> Result<AmazonS3, S3Unusable> {
        self.client_at(self.public_endpoint.as_deref().or(self.endpoint.as_deref()))
    }

    fn client_at(&self, endpoint: Option<&str>) -> Result<AmazonS3, S3Unusable> {
        // Only where the settings say so themselves are bytes sent in the clear.
        let in_the_clear = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let options = ClientOptions::new()
            .with_timeout(self.timeout)
            .with_connect_timeout(self.timeout.min(Duration::from_secs(5)))
            .with_allow_http(in_the_clear);
        let backoff = BackoffConfig { max_backoff: PAUSE_MAX, ..BackoffConfig::default() };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: self.timeout };
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(&self.secret_key)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_client_options(options)
            .with_retry(retry);
        let builder = match endpoint {
            Some(endpoint) => builder.with_endpoint(self.with_bucket(endpoint)),
            None => builder,
        };
        builder.build().map_err(|error| S3Unusable(error.to_string()))
    }

    /// The library wants the bucket in the server's name, where it belongs there.
    fn with_bucket(&self, endpoint: &str) -> String {
        let endpoint = endpoint.trim_end_matches('/');
        match endpoint.split_once("://") {
            Some((scheme, server))
                if !self.path_style && !server.starts_with(&format!("{}.", self.bucket)) =>
            {
                format!("{scheme}://{}.{server}", self.bucket)
            }
            _ => endpoint.to_owned(),
        }
    }

    /// In words, for people.
    pub(super) fn place(&self) -> String {
        let server = self.endpoint.as_deref().unwrap_or("AWS");
        format!("bucket {} at {server}, region {}", self.bucket, self.region)
    }
}

/// The server of an endpoint; `None`: it is none.
fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    (!host.is_empty() && !host.contains(['/', '@', '?', '#', ' '])).then_some(host)
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever names a key is left out.
        f.debug_struct("S3Settings")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> S3Settings {
        S3Settings {
            bucket: "videos".to_owned(),
            endpoint: Some("http://127.0.0.1:9".to_owned()),
            public_endpoint: None,
            region: "eu-central-1".to_owned(),
            path_style: true,
            access_key: "AKIA".to_owned(),
            secret_key: "very secret".to_owned(),
            prefix: String::new(),
            link_ttl: Duration::from_secs(60),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_anything_is_connected() {
        let checked = |change: fn(&mut S3Settings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.check()
        };
        assert_eq!(checked(|_| ()), Ok(()));
        assert_eq!(checked(|settings| settings.prefix = "team-a/greenroom_1".to_owned()), Ok(()));
        let wrong: [fn(&mut S3Settings); 11] = [
            |settings| settings.bucket.clear(),
            |settings| settings.bucket = "a/b".to_owned(),
            |settings| settings.prefix = "/a".to_owned(),
            |settings| settings.prefix = "a/../b".to_owned(),
            |settings| settings.prefix = "a b".to_owned(),
            |settings| settings.endpoint = Some("s3.example.com".to_owned()),
            |settings| settings.public_endpoint = Some("https://s3.example.com/bucket".to_owned()),
            |settings| settings.access_key.clear(),
            |settings| settings.secret_key.clear(),
            |settings| settings.link_ttl = Duration::from_secs(8 * 24 * 60 * 60),
            |settings| settings.timeout = Duration::ZERO,
        ];
        for (at, change) in wrong.into_iter().enumerate() {
            assert!(checked(change).is_err(), "case {at}");
        }
    }

    #[test]
    fn the_bucket_stands_where_the_style_says() {
        let styled = |path_style| S3Settings { path_style, ..settings() };
        assert_eq!(styled(true).with_bucket("https://s3.example.com/"), "https://s3.example.com");
        assert_eq!(styled(false).with_bucket("https://s3.example.com"), "https://videos.s3.example.com");
        assert_eq!(
            styled(false).with_bucket("https://videos.s3.example.com"),
            "https://videos.s3.example.com"
        );
    }

    #[test]
    fn no_secret_is_shown() {
        assert!(!format!("{:?}", settings()).contains("secret"));
        assert!(!settings().place().contains("secret"));
    }
}
