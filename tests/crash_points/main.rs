//! A node is killed at each named point of a recording's life (`crash::point`), and another takes over: what was
//! acknowledged is in the video, there is one ready recording, and nothing is left behind. Or it stands still there, and wakes when
//! another has taken over.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails, and says what it has seen"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/s3.rs"]
#[allow(dead_code, reason = "the tests of the stores use all of it")]
mod s3;

mod audit;
mod names;
mod numbers;
mod story;
mod wake;

use self::{
    story::{Framing, Place, die_at, die_at_a_large_one, die_at_in_mp4},
    wake::{Meanwhile, wake_at},
};

/// A test for each point: `name: "point"`, or `"point:n"` for the n-th time that a node comes to it.
macro_rules! points {
    ($framing:expr, $place:expr; $( $name:ident: $point:literal, )*) => {
        $( #[tokio::test]
        async fn $name() {
            die_at($point, $framing, $place).await;
        } )*
    };
}

mod indexed {
    use super::{Framing, Place, die_at};

    points! { Framing::Indexed, Place::Folder;
        after_its_folder_was_made: "open.created",
        after_its_account_was_opened: "open.opened",
        before_a_chunk_is_staged: "chunk.placed:3",
        before_the_bytes_of_a_chunk_are_synced: "chunk.written:2",
        after_the_bytes_of_a_chunk_are_synced: "chunk.synced:2",
        after_a_chunk_was_staged: "chunk.staged:2",
        after_a_chunk_was_marked: "place.noted:2",
        after_a_chunk_has_its_name: "place.linked:2",
        after_a_chunk_was_committed: "chunk.committed:3",
        after_a_chunk_was_noted: "chunk.noted:3",
        after_a_chunk_was_acknowledged: "chunk.acked:2",
        before_a_manifest_is_synced: "manifest.written:2",
        after_a_manifest_was_synced: "manifest.synced:2",
        after_a_manifest_was_renamed: "manifest.renamed",
        after_a_stop_was_taken: "stop.taken",
        after_a_stop_was_saved: "stop.saved",
        after_it_was_claimed: "claim.finalise",
        after_its_merge_was_planned: "merge.planned",
        while_ffmpeg_makes_its_picture: "ffmpeg.begun:4",
        after_its_video_was_made: "merge.made",
        after_its_video_was_proven: "video.proven",
        after_its_video_has_its_name: "video.renamed",
        after_its_video_was_stored: "put.stored",
        before_it_is_published: "publish.before",
        after_it_was_published: "publish.after",
        before_its_recorder_is_told: "notify",
        before_its_row_is_written: "row.before",
        after_its_row_was_written: "row.after",
        before_its_chunks_go: "delete.before",
        after_its_chunks_are_gone: "delete.after",
        after_its_account_has_heard_of_it: "delete.forgotten",
        before_its_claim_ends: "settle.before",
        after_its_claim_has_ended: "settle.after",
        before_it_is_forgotten: "claim.forget",
        before_its_account_is_closed: "release.marked",
        after_its_account_was_closed: "release.closed",
    }
}

#[tokio::test]
async fn while_ffmpeg_makes_its_video() {
    die_at_in_mp4("ffmpeg.begun:4").await;
}

mod raw {
    use super::{Framing, Place, die_at};

    points! { Framing::Raw, Place::Folder;
        before_a_chunk_is_staged: "chunk.admitted:3",
        before_the_bytes_of_a_chunk_are_synced: "chunk.written:2",
        after_the_bytes_of_a_chunk_are_synced: "chunk.synced:2",
        after_a_chunk_got_its_number: "chunk.numbered:3",
        after_a_chunk_was_stored: "chunk.number_stored:3",
        after_a_chunk_was_noted: "chunk.number_noted:3",
        after_a_chunk_was_acknowledged: "chunk.acked:3",
    }
}

/// What is put together while it comes, and completed.
mod assembled {
    mod while_it_comes {
        use crate::{Framing, Place, story::die_before_stop as die_at};

        points! { Framing::Indexed, Place::Folder;
            after_its_first_bytes_were_written: "assembly.appended",
            after_a_size_was_written: "assembly.patched",
            after_its_bytes_are_durable: "assembly.durable",
            after_its_state_was_saved: "assembly.saved",
            after_its_state_was_saved_beside_the_first: "assembly.saved:2",
            after_its_state_was_saved_over_the_first: "assembly.saved:3",
            after_more_was_written: "assembly.continued",
        }
    }

    mod by_who_takes_over {
        use crate::{Framing, Place, story::die_taking_over as die_at};

        points! { Framing::Indexed, Place::Folder;
            before_the_file_has_its_name: "assembly.named",
            after_the_file_has_its_name: "assembly.taken",
        }
    }

    /// What is not gone on with in its place.
    mod by_who_copies {
        use crate::{Framing, Place, story::die_taking_over_in_mp4};

        async fn die_at(point: &str, _: Framing, _: Place) {
            die_taking_over_in_mp4(point).await;
        }

        points! { Framing::Indexed, Place::Folder;
            after_the_bytes_are_there: "assembly.copied",
            before_the_former_ones_go: "assembly.kept",
        }
    }

    mod at_its_end {
        use crate::{
            Framing, Place,
            story::{die_at as die_early, die_saved as die_at, die_saved_in_mp4},
        };

        points! { Framing::Indexed, Place::Folder;
            before_its_checkpoint_has_the_other_name: "assembly.moved",
            while_its_head_is_written: "assembly.headed",
            after_its_index_was_written: "assembly.completed",
            after_it_was_proven: "assembly.proven",
        }

        #[tokio::test]
        async fn before_its_index_is_durable_in_a_bucket() {
            die_early("assembly.completed", Framing::Indexed, Place::Bucket).await;
        }

        #[tokio::test]
        async fn after_its_data_have_become_one_box() {
            die_saved_in_mp4("assembly.completed").await;
        }
    }
}

/// Chunks and videos in a bucket.
mod bucket {
    use super::{Framing, Place, die_at, die_at_a_large_one};

    points! { Framing::Indexed, Place::Bucket;
        after_its_manifest_was_written: "bucket.begun",
        after_a_chunk_was_marked: "bucket.noted:2",
        after_a_chunk_has_its_place: "bucket.placed:3",
        before_a_manifest_is_saved: "bucket.saving",
        after_a_manifest_was_saved: "bucket.saved:2",
        before_its_video_is_sent: "bucket.putting",
        after_its_video_was_sent: "bucket.put",
        after_its_chunks_are_nobodys: "bucket.deleting",
        after_its_chunks_are_gone: "bucket.cleared",
    }

    #[tokio::test]
    async fn before_the_first_part_of_its_video_is_sent() {
        die_at_a_large_one("bucket.part").await;
    }

    #[tokio::test]
    async fn before_the_parts_of_its_video_become_one() {
        die_at_a_large_one("bucket.sent").await;
    }

    #[tokio::test]
    async fn after_the_parts_of_its_video_became_one() {
        die_at_a_large_one("bucket.put").await;
    }
}

/// Videos that go into a bucket while they come.
mod parts {
    mod while_it_comes {
        use crate::{Framing, Place, story::die_in_parts_before_stop as die_at};

        points! { Framing::Indexed, Place::Bucket;
            before_anything_is_noted_of_its_upload: "bucket.opened",
            before_its_first_part_is_sent: "sending.begun",
            after_its_second_part_was_sent: "sending.part:2",
            after_its_first_part_was_noted: "sending.noted",
        }
    }

    mod at_its_end {
        use crate::{Framing, Place, story::die_in_parts as die_at};

        points! { Framing::Indexed, Place::Bucket;
            before_its_last_parts_are_sent: "sending.claimed",
            after_all_of_its_parts_are_sent: "sending.sent",
            before_its_parts_become_one: "bucket.completing",
            after_its_parts_became_one: "bucket.completed",
        }
    }
}

/// Chunks in Redis.
mod redis {
    use super::{Framing, Place, die_at};

    points! { Framing::Indexed, Place::Redis;
        before_its_manifest_is_written: "redis.entered",
        before_a_chunk_has_its_place: "redis.placing:3",
        after_a_chunk_has_its_place: "redis.placed:3",
        after_a_manifest_was_saved: "redis.saved",
        after_its_manifest_is_gone: "redis.dropped",
        after_its_chunks_are_gone: "redis.unlinked",
    }
}

/// As `points!`, of a node that stands still there.
macro_rules! wakes {
    ($place:expr, $meanwhile:expr; $( $name:ident: $point:literal, )*) => {
        $( #[tokio::test]
        async fn $name() {
            wake_at($point, $place, $meanwhile).await;
        } )*
    };
}

/// The recording is ready when the node wakes.
mod woken {
    use super::{Meanwhile, Place, wake_at};

    wakes! { Place::Folder, Meanwhile::Kept;
        before_its_merge: "merge.planned",
        after_its_video_was_proven: "video.proven",
        after_its_video_was_stored: "put.stored",
        after_it_was_published: "publish.after",
        after_its_row_was_written: "row.after",
        after_its_chunks_are_gone: "delete.after",
    }

    wakes! { Place::Bucket, Meanwhile::Kept;
        after_its_video_was_sent: "bucket.put",
    }
}

/// The same of one whose parts went into a bucket while it came.
mod woken_in_parts {
    use super::{Meanwhile, Place, wake::wake_in_parts as wake_at};

    wakes! { Place::Bucket, Meanwhile::Kept;
        before_its_last_parts_are_sent: "sending.claimed",
        before_its_parts_become_one: "bucket.completing",
        after_its_parts_became_one: "bucket.completed",
    }

    wakes! { Place::Bucket, Meanwhile::Deleted;
        before_they_become_one_of_what_was_deleted: "sending.sent",
        after_they_became_one_of_what_was_deleted: "bucket.completed",
    }
}

/// It was deleted, and another has its name.
mod woken_late {
    use super::{Meanwhile, Place, wake_at};

    wakes! { Place::Folder, Meanwhile::Deleted;
        before_its_video_has_its_name: "video.proven",
        after_its_video_was_made: "merge.made",
        after_its_video_has_its_name: "video.renamed",
        before_it_is_published: "publish.before",
        before_its_row_is_written: "row.before",
        before_its_chunks_are_looked_at: "row.after",
        before_its_chunks_go: "delete.before",
        before_its_claim_ends: "settle.before",
    }

    wakes! { Place::Bucket, Meanwhile::Deleted;
        before_its_video_is_sent: "bucket.putting",
        after_its_chunks_are_nobodys: "bucket.deleting",
    }
}

/// It was at the file that grows, and another has gone on with that.
mod woken_in_a_step {
    // It stands still there, instead of dying.
    use super::{Framing, Place, wake::wake_in_a_step as die_at};

    points! { Framing::Indexed, Place::Folder;
        before_the_rest_is_appended: "assembly.patched:3",
        before_its_bytes_are_durable: "assembly.continued:7",
        before_they_are_read_back: "assembly.durable:2",
        after_its_state_was_saved_once_more: "assembly.saved:2",
    }
}

/// The same of one that was still recorded by way of the node, which had a chunk in its hands.
mod woken_with_a_chunk {
    // It stands still there, instead of dying.
    use super::{Framing, Place, wake::wake_with_a_chunk as die_at};

    points! { Framing::Indexed, Place::Folder;
        before_it_is_staged: "chunk.placed:4",
        before_its_bytes_are_synced: "chunk.written:4",
        after_it_was_staged: "chunk.staged:4",
        after_it_was_marked: "place.noted:4",
        after_it_was_committed: "chunk.committed:4",
    }

    points! { Framing::Raw, Place::Folder;
        before_it_gets_a_number: "chunk.admitted:4",
        after_it_got_its_number: "chunk.numbered:4",
    }

    points! { Framing::Indexed, Place::Bucket;
        before_it_goes_into_a_bucket: "chunk.placed:4",
        after_it_was_marked_in_a_bucket: "bucket.noted:4",
    }

    points! { Framing::Indexed, Place::Redis;
        before_it_goes_into_redis: "chunk.placed:4",
        before_it_has_its_place_in_redis: "redis.placing:4",
    }
}
