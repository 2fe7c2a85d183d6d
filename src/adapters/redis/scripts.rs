//! The scripts, by name. Each is asked for by its digest and sent whole where the server does not know it, as after a restart
//! or a failover.

use std::sync::LazyLock;

use deadpool_redis::redis;

/// A script.
pub struct Script {
    /// As metrics call it.
    pub name: &'static str,
    code: LazyLock<redis::Script>,
}

impl Script {
    /// A call without keys and arguments yet.
    pub fn call(&'static self) -> redis::ScriptInvocation<'static> {
        self.code.prepare_invoke()
    }
}

macro_rules! script {
    ($name:literal $(after $common:literal)?) => {
        Script {
            name: $name,
            code: LazyLock::new(|| {
                redis::Script::new(concat!(
                    $(include_str!(concat!("scripts/", $common, ".lua")), "\n",)?
                    include_str!(concat!("scripts/", $name, ".lua"))
                ))
            }),
        }
    };
}

pub static ADMIT: Script = script!("admit" after "room");
pub static TAKE_OVER: Script = script!("take_over" after "room");
pub static SYNC: Script = script!("sync" after "room");
pub static UPDATE: Script = script!("update" after "room");
pub static WITHDRAW: Script = script!("withdraw" after "room");
pub static SET_LOCKED: Script = script!("set_locked" after "room");
pub static BAN: Script = script!("ban" after "room");
pub static SHOW: Script = script!("show" after "room");
pub static BEAT: Script = script!("beat");
pub static CLAIM: Script = script!("claim");
pub static UNINDEX: Script = script!("unindex");
