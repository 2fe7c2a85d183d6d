//! What was acknowledged to whom, and what was seen to be wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::{take::Take, wire::Nodes};

/// What one run knows of its recordings.
pub struct Books {
    /// Where recordings are made.
    pub nodes: Nodes,
    began: Instant,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    recordings: BTreeMap<String, Recording>,
    wrong: Vec<String>,
    counts: BTreeMap<&'static str, usize>,
}

/// One recording that somebody was told of.
#[derive(Clone)]
pub struct Recording {
    /// What is recorded.
    pub take: Arc<Take>,
    /// Chunks that were acknowledged.
    pub acked: BTreeSet<u32>,
    /// Chunks that were sent at least once are below.
    pub sent: u32,
    /// Whether its recorder has said that this is all, and that was taken.
    pub stopped: bool,
    /// Whether its recorder has nothing more to do with it.
    pub over: bool,
    /// Of the video that its recorder was told of.
    pub sha256: Option<String>,
    /// What its recorder was refused last.
    pub refused: String,
}

impl Books {
    /// Empty ones.
    pub fn new(nodes: Nodes) -> Self {
        Self { nodes, began: Instant::now(), pages: Mutex::default() }
    }

    /// Prints what happens now, and when that is.
    pub fn tell(&self, what: &str) {
        println!("{:>5} s  {what}", self.began.elapsed().as_secs());
    }

    /// Somebody was told of a recording.
    pub fn open(&self, id: &str, take: &Arc<Take>) {
        let recording = Recording {
            take: take.clone(),
            acked: BTreeSet::new(),
            sent: 0,
            stopped: false,
            over: false,
            sha256: None,
            refused: String::new(),
        };
        let before = self.write(|pages| pages.recordings.insert(id.to_owned(), recording));
        if before.is_some() {
            self.wrong(&format!("{id}: one name for two recordings"));
        }
    }

    /// Changes what is known of a recording.
    pub fn note(&self, id: &str, change: impl FnOnce(&mut Recording)) {
        self.write(|pages| pages.recordings.get_mut(id).map(change));
    }

    /// One more of these.
    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    /// So many more of these.
    pub fn add(&self, what: &'static str, more: usize) {
        self.write(|pages| *pages.counts.entry(what).or_default() += more);
    }

    /// Something is not as it must be. Begins with the recording's name, where it is about one.
    pub fn wrong(&self, what: &str) {
        self.tell(&format!("wrong: {what}"));
        self.write(|pages| pages.wrong.push(what.to_owned()));
    }

    /// Everything that is not as it must be.
    pub fn all_wrong(&self) -> Vec<String> {
        self.write(|pages| pages.wrong.clone())
    }

    /// The recordings that something is wrong with.
    pub fn names_of_wrong(&self) -> BTreeSet<String> {
        let names = |text: &String| text.split_once(':').map(|(name, _)| name.to_owned());
        self.write(|pages| {
            let named = pages.wrong.iter().filter_map(names);
            named.filter(|name| pages.recordings.contains_key(name)).collect()
        })
    }

    /// All recordings, by name.
    pub fn recordings(&self) -> BTreeMap<String, Recording> {
        self.write(|pages| pages.recordings.clone())
    }

    /// Prints what was counted.
    pub fn print(&self) {
        self.write(|pages| {
            println!("{:>8}  recordings", pages.recordings.len());
            for (what, count) in &pages.counts {
                println!("{count:>8}  {what}");
            }
        });
    }

    fn write<T>(&self, act: impl FnOnce(&mut Pages) -> T) -> T {
        act(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
