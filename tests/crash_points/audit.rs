//! Everything, as it is at the end: the video, the rows, and that nothing else is left.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    story::{FORGOTTEN_WITHIN, OTHER_DISK, OWNER, ROOM, Story},
    support::{Upload, age, assert_recorded, get, names, ready, send, soon, status, video},
};

impl Story {
    /// Waits for the video, which is what was recorded; its row.
    pub async fn check_video(&mut self) -> Value {
        let node = self.cluster.address(1);
        ready(node, self.id()).await;
        // Of one that went into its bucket while it came its digest may follow, and on a busy node its poster.
        let row = soon(FORGOTTEN_WITHIN, "all is known of it", async || {
            let row = status(node, self.id()).await;
            (row["sha256"].is_string() && row["posterUrl"].is_string()).then_some(row)
        })
        .await;
        assert_eq!((&row["complete"], &row["version"]), (&json!(true), &json!(1)), "{row}");
        if let Some(told) = self.told.as_ref().filter(|told| told["sha256"].is_string()) {
            assert_eq!(told["sha256"], row["sha256"], "what was told is what there is");
        }
        let bytes = match &self.bucket {
            Some(bucket) => {
                let key = row["key"].as_str().expect("a name");
                std::fs::read(bucket.file(&format!("recordings/{key}"))).expect("it is in the bucket")
            }
            None => video(node, &row).await,
        };
        assert_recorded(&row, &bytes, self.media);
        row
    }

    /// Everything else.
    pub async fn check_rest(&self, row: &Value) {
        self.only_files_left(row).await;
        self.only_keys_left().await;
        self.next_is_let_in().await;
        soon(FORGOTTEN_WITHIN, "its room and its owner have no recording", async || {
            self.is_in_no_index().then_some(())
        })
        .await;
        self.only_rows_left().await;
    }

    fn id(&self) -> &str {
        let token = self.token.as_deref().expect("it was begun");
        token.split_once('.').expect("a token").0
    }

    /// Its owner may record again, and thinks better of it.
    async fn next_is_let_in(&self) {
        let node = self.cluster.address(1);
        let start = json!({ "recordId": "next", "roomName": ROOM, "owner": OWNER });
        let (next, _) = Upload::start(node, start).await;
        let gone = send(node, "DELETE /recordings/next", &[("Authorization", &next.bearer)], b"").await;
        assert_eq!(gone.status, 204, "{gone:?}");
    }

    /// Waits until nothing is left but the video: in no folder, however young it was.
    async fn only_files_left(&self, row: &Value) {
        let storage = self.cluster.storage(1);
        let name = |url: &Value| url.as_str().expect("a link").rsplit_once('/').expect("a link").1.to_owned();
        let kept = BTreeSet::from([name(&row["downloadUrl"]), name(&row["posterUrl"])]);
        soon(FORGOTTEN_WITHIN, "nothing but the video is left", async || {
            age(&storage);
            let merges = names(&storage.join("tmp")).into_iter();
            let merges: usize = merges.map(|node| names(&storage.join("tmp").join(node)).len()).sum();
            let chunks = match &self.bucket {
                Some(bucket) => {
                    age(&bucket.file(""));
                    let work = |key: &String| key.starts_with("chunks/") || key.starts_with("assembly/");
                    bucket.keys().into_iter().filter(work).count()
                }
                None => names(&storage.join("chunks")).len(),
            };
            let folders =
                ["assembly".to_owned(), "tmp/assembly".to_owned(), format!("{OTHER_DISK}/assembly")];
            let growing = folders.map(|folder| storage.join(folder));
            let growing: usize = growing.iter().map(|folder| names(folder).len()).sum();
            (chunks == 0 && merges == 0 && growing == 0 && self.videos() == kept).then_some(())
        })
        .await;
    }

    /// Videos and their pictures.
    pub fn videos(&self) -> BTreeSet<String> {
        match &self.bucket {
            Some(bucket) => names(&bucket.file("recordings")),
            None => names(&self.cluster.storage(1).join("recordings")),
        }
    }

    /// Waits until Redis knows nothing of any recording.
    async fn only_keys_left(&self) {
        let redis = self.cluster.redis();
        let mut seen = Vec::new();
        soon(FORGOTTEN_WITHIN, "Redis has forgotten it", async || {
            let left = redis.keys().into_iter().filter(|key| key.starts_with("recording:"));
            // Bytes of chunks that belong to nothing any more go by themselves.
            let goes = |key: &String| key.contains(":data:") && redis.run::<i64>(&["PTTL", key]) > 0;
            let left: Vec<_> = left.filter(|key| !goes(key)).collect();
            let due: Vec<String> = redis.run(&["ZRANGE", "recordings:active", "0", "-1", "WITHSCORES"]);
            let is_over = left.is_empty() && due.is_empty() && self.is_in_no_index();
            if seen != left {
                println!("left in Redis: {left:?}, due {due:?}; in no index: {}", self.is_in_no_index());
                seen = left;
            }
            is_over.then_some(())
        })
        .await;
    }

    /// Whether Redis has no recording of any room or owner.
    fn is_in_no_index(&self) -> bool {
        let redis = self.cluster.redis();
        let rooms: Vec<String> = redis.run(&["HKEYS", "recordings:rooms"]);
        let owners = redis.keys().into_iter().filter(|key| key.starts_with("recordings:owner:"));
        rooms.iter().all(|entry| entry == "#version") && owners.count() == 0
    }

    /// Waits until the catalog has the video's row, and beside it at most that of a recording of which nobody was told, and in
    /// which nothing ever came. That one goes where it was written as its account was closed.
    async fn only_rows_left(&self) {
        let node = self.cluster.address(1);
        soon(FORGOTTEN_WITHIN, "no row says more than there is", async || {
            let list = get(node, "/recordings").await.json();
            let rows = list["recordings"].as_array().expect("rows");

            let (own, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["recordId"] == self.id());
            let is_empty = |row: &&Value| {
                row["state"] == "failed" && row["error"]["code"] == "empty_recording" && row["chunks"] == 0
            };
            let others_fit = others.iter().all(is_empty) && others.len() <= usize::from(self.is_untold());
            (own.len() == 1 && own[0]["state"] == "ready" && others_fit).then_some(())
        })
        .await;
    }
}
