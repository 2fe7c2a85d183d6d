//! Whether a Redis can be used at all: looked at once, at the start.

use deadpool_redis::redis::{Value, cmd};

use super::{By, Question, RedisStore};

/// The first version with all that is needed.
const VERSION_MIN: (u32, u32) = (6, 2);
/// The same for a cluster: sharded pub/sub.
const CLUSTER_VERSION_MIN: (u32, u32) = (7, 0);

/// Why a Redis cannot be used, or cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// As it is set up, it would lose what it is told. The sentence names the setting.
    #[error("{0}")]
    Unsuitable(String),
    /// It does not answer, or does not let this user look: it may be right.
    #[error("Redis could not be checked: {0}")]
    Unknown(String),
}

impl RedisStore {
    /// Looks at version and settings of every server.
    ///
    /// # Errors
    /// [`CheckError::Unsuitable`]: a reason not to start. [`CheckError::Unknown`]: a reason for a warning.
    pub async fn check(&self) -> Result<(), CheckError> {
        let facts = Facts::of(&self.info("server").await?, &self.info("memory").await?);
        facts.judge(if self.settings.is_cluster() { CLUSTER_VERSION_MIN } else { VERSION_MIN })
    }

    /// What names the servers and their lives: one that was started again, or has taken over, may have lost its last changes.
    /// `None`: they do not say.
    pub(super) async fn lives(&self) -> Option<String> {
        let mut lives = values(&self.info("server").await.ok()?, "run_id:");
        lives.sort();
        Some(lives.join(" "))
    }

    /// What every server says of itself.
    async fn info(&self, section: &str) -> Result<String, CheckError> {
        Ok(self.info_of_each(section).await?.join("\n"))
    }

    /// The same, a text for each server: in a cluster for each master.
    pub(super) async fn info_of_each(&self, section: &str) -> Result<Vec<String>, CheckError> {
        let mut command = cmd("INFO");
        command.arg(section);
        let answer = self.ask(By::Leases, Question::command("info", command)).await;
        let mut texts = Vec::new();
        gather(answer.map_err(|error| CheckError::Unknown(error.to_string()))?, &mut texts);
        Ok(texts)
    }
}

/// The texts of an answer: a cluster gives one from each server.
fn gather(value: Value, texts: &mut Vec<String>) {
    match value {
        Value::BulkString(bytes) => texts.push(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => texts.push(text),
        Value::Array(parts) => parts.into_iter().for_each(|part| gather(part, texts)),
        Value::Map(parts) => parts.into_iter().for_each(|(_, part)| gather(part, texts)),
        _ => {}
    }
}

/// What servers say of themselves.
struct Facts {
    versions: Vec<String>,
    policies: Vec<String>,
}

impl Facts {
    fn of(server: &str, memory: &str) -> Self {
        Self { versions: values(server, "redis_version:"), policies: values(memory, "maxmemory_policy:") }
    }

    fn judge(&self, version_min: (u32, u32)) -> Result<(), CheckError> {
        if let Some(old) = self.versions.iter().find(|version| numbers(version) < version_min) {
            let (major, minor) = version_min;
            return Err(CheckError::Unsuitable(format!(
                "Redis is version {old}; {major}.{minor} or later is needed"
            )));
        }
        // Rows carry no term, so an eviction would take participants out of their rooms, or a lease from a live node.
        if let Some(policy) = self.policies.iter().find(|policy| *policy != "noeviction") {
            return Err(CheckError::Unsuitable(format!(
                "Redis may throw away what it is told: set its maxmemory-policy to noeviction (it is {policy})"
            )));
        }
        if self.versions.is_empty() || self.policies.is_empty() {
            return Err(CheckError::Unknown("INFO does not say version and maxmemory-policy".to_owned()));
        }
        Ok(())
    }
}

fn values(text: &str, name: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.strip_prefix(name)?.trim().to_owned())).collect()
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_counts() {
        let judge = |server: &str, memory: &str| Facts::of(server, memory).judge(VERSION_MIN);
        let good = "maxmemory_policy:noeviction\r\n";
        assert_eq!(judge("redis_version:6.2.0\r\n", good), Ok(()));
        assert_eq!(judge("redis_version:10.0.1\r\n", good), Ok(()));
        let old = judge("redis_version:7.0.1\r\nredis_version:6.0.16\r\n", good);
        assert_eq!(
            old,
            Err(CheckError::Unsuitable("Redis is version 6.0.16; 6.2 or later is needed".to_owned()))
        );
        let evicts = judge(
            "redis_version:7.0.1\r\n",
            "maxmemory_policy:noeviction\r\nmaxmemory_policy:allkeys-lru\r\n",
        );
        assert!(evicts.is_err_and(|error| {
            error.to_string().contains("maxmemory-policy to noeviction (it is allkeys-lru)")
        }));
        assert!(matches!(judge("", ""), Err(CheckError::Unknown(_))));
    }
}
