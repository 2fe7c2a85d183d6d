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
pub static RECORDING_OPEN: Script = script!("recording_open" after "recording");
pub static RECORDING_ATTACH: Script = script!("recording_attach" after "recording");
pub static RECORDING_ADMIT: Script = script!("recording_admit" after "recording");
pub static RECORDING_PLACE: Script = script!("recording_place" after "recording");
pub static RECORDING_NUMBER: Script = script!("recording_number" after "recording");
pub static RECORDING_GIVE_BACK: Script = script!("recording_give_back" after "recording");
pub static RECORDING_LATE: Script = script!("recording_late" after "recording");
pub static RECORDING_FILL: Script = script!("recording_fill" after "recording");
pub static RECORDING_NOTE: Script = script!("recording_note" after "recording");
pub static RECORDING_STOP: Script = script!("recording_stop" after "recording");
pub static RECORDING_KEEP: Script = script!("recording_keep" after "recording");
pub static RECORDING_DETACH: Script = script!("recording_detach" after "recording");
pub static RECORDING_CLAIM: Script = script!("recording_claim" after "recording");
pub static RECORDING_KEEP_CLAIM: Script = script!("recording_keep_claim" after "recording");
pub static RECORDING_PUBLISH: Script = script!("recording_publish" after "recording");
pub static RECORDING_SETTLE: Script = script!("recording_settle" after "recording");
pub static RECORDING_FORGET: Script = script!("recording_forget" after "recording");
pub static RECORDING_CLOSE: Script = script!("recording_close" after "recording");
pub static RECORDING_MISSING: Script = script!("recording_missing" after "recording");
pub static RECORDING_SHOW: Script = script!("recording_show" after "recording");
pub static RECORDING_RETRY: Script = script!("recording_retry" after "recording");
pub static RECORDING_RESTORE: Script = script!("recording_restore" after "recording");
pub static RECORDINGS_LOSS: Script = script!("recordings_loss");
pub static RECORDINGS_WHOLE: Script = script!("recordings_whole");
pub static RECORDINGS_NOW: Script = script!("recordings_now");
pub static RECORDINGS_DUE: Script = script!("recordings_due");
pub static RECORDINGS_ENTER: Script = script!("recordings_enter");
pub static RECORDINGS_MOVE: Script = script!("recordings_move");
pub static RECORDINGS_STORES: Script = script!("recordings_stores");
pub static EXPORT_TAKE: Script = script!("export_take");
pub static EXPORT_END: Script = script!("export_end");
pub static EXPORT_SHOW: Script = script!("export_show");
pub static ENTRY_PUT: Script = script!("entry_put" after "entry");
pub static ENTRY_DROP: Script = script!("entry_drop" after "entry");
pub static ENTRY_ADMIT: Script = script!("entry_admit" after "entry");
pub static ENTRY_ROOMS: Script = script!("entry_rooms" after "entry");
pub static CHUNKS_BEGIN: Script = script!("chunks_begin" after "chunks");
pub static CHUNKS_SAVE: Script = script!("chunks_save" after "chunks");
pub static CHUNKS_TAKE: Script = script!("chunks_take" after "chunks");
pub static CHUNKS_RENEW: Script = script!("chunks_renew" after "chunks");
pub static CHUNKS_DROP: Script = script!("chunks_drop" after "chunks");
pub static CHUNKS_AGE: Script = script!("chunks_age" after "chunks");
pub static CHUNKS_INDEX: Script = script!("chunks_index");
