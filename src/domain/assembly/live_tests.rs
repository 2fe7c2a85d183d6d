use super::{
    kit::{Disk, Running, Step, in_fragments, live, read},
    *,
};

/// The file up to a cut.
fn file(disk: &Disk, live: &Live, cut: Cut) -> Option<Vec<u8>> {
    let Ending { patches, index } = live.ending(cut)?;
    let mut bytes = disk.0[..usize::try_from(cut.bytes).unwrap()].to_vec();
    for (at, patch) in patches {
        let at = usize::try_from(at).unwrap();
        bytes[at..at + patch.len()].copy_from_slice(&patch);
    }
    Some([bytes, index].concat())
}

/// What there was to be watched after each piece, and the whole file in the end.
fn watched(rules: Rules, source: &[u8]) -> (Vec<(Live, Vec<u8>)>, Running) {
    let (mut running, mut all) = (Running::new(rules), Vec::new());
    for (index, piece) in source.chunks(97).enumerate() {
        running.step(&Step::Chunk(index == 0, piece)).unwrap();
        all.extend(running.state.assembler.live().map(|live| {
            let cut = live.cut();
            let file = file(&running.disk, &live, cut).unwrap();
            (live, file)
        }));
    }
    (all, running)
}

#[test]
fn what_has_come_so_far_is_a_file_that_plays_and_seeks() {
    let source = live(9);
    let (all, running) = watched(Rules::default(), &source);
    let (_, came) = read(&source);
    let mut lengths: Vec<_> = all.iter().map(|(live, _)| live.duration_ms).collect();
    lengths.dedup();
    assert_eq!(lengths, [1000, 2000, 3000, 4000], "up to each keyframe");
    for (live, file) in &all {
        let (found, packets) = read(file);
        assert_eq!(found.damaged, []);
        assert_eq!(found.duration_us, Some(live.duration_ms * 1000));
        let times = packets.iter().map(|packet| packet.time_us);
        assert!(times.max().is_some_and(|last| last < i64::try_from(live.duration_ms * 1000).unwrap()));
        assert_eq!(packets, came[..packets.len()], "all of what came up to there, and nothing else");
        assert_eq!(found.cues.len() as u64, live.duration_ms / 1000, "one for each keyframe");
        let places: Vec<_> = found.clusters.iter().map(|(time_us, at)| (time_us / 1000, *at)).collect();
        let told: Vec<_> = live.places().into_iter().map(|(ms, at)| (i64::from(ms), at)).collect();
        assert_eq!(told, places);
        assert_eq!(live.mime_type, "video/webm;codecs=\"vp8,opus\"");
    }
    // What could be read before is in the file for good.
    let mut whole = running;
    whole.finish().unwrap();
    for (live, file) in all {
        let settled = usize::try_from(live.head_bytes).unwrap()..usize::try_from(live.bytes).unwrap();
        assert_eq!(file[settled.clone()], whole.disk.0[settled]);
    }
}

#[test]
fn whoever_is_farther_makes_the_same_file_up_to_a_cut() {
    let (all, running) = watched(Rules::default(), &live(9));
    let (last, _) = all.last().unwrap();
    for (live, wanted) in &all {
        assert!(file(&running.disk, last, live.cut()).as_ref() == Some(wanted), "{:?}", live.cut());
    }
    let ahead = Cut { bytes: last.bytes + 1, ..last.cut() };
    assert_eq!(last.ending(ahead), None, "who is not as far makes none");
    assert_eq!(last.ending(Cut { bytes: last.head_bytes - 1, ..last.cut() }), None);
    assert_eq!(last.ending(Cut { every: 0, ..last.cut() }), None);
    assert_eq!(last.ending(Cut { duration_ms: u64::MAX, ..last.cut() }), None);
}

#[test]
fn a_cut_of_a_finer_index_than_there_is_now_is_not_made() {
    let rules = Rules { cues_max: 4, ..Rules::default() };
    let (all, running) = watched(rules, &live(24));
    let ((first, _), (last, wanted)) = (&all[0], all.last().unwrap());
    assert!(last.cut().every > 1);
    assert_eq!(last.ending(first.cut()), None);
    // One that was coarser than it is now is.
    let coarse = Cut { every: last.cut().every * 2, ..last.cut() };
    let (found, _) = read(&file(&running.disk, last, coarse).unwrap());
    assert_eq!((found.damaged.len(), found.cues.len()), (0, read(wanted).0.cues.len().div_ceil(2)));
}

#[test]
fn of_what_has_nothing_whole_nothing_can_be_watched() {
    let source = live(4);
    let mut running = Running::new(Rules::default());
    assert!(running.state.assembler.live().is_none());
    running.step(&Step::Chunk(true, &source[..source.len() / 5])).unwrap();
    assert!(running.state.assembler.live().is_none(), "the first Cluster is open");
}

/// Whoever goes on from before its end has the head of a file that grows.
#[test]
fn a_file_that_was_completed_grows_again() {
    for source in [live(9), in_fragments(9)] {
        let mut running = Running::new(Rules::default());
        running.step(&Step::Chunk(true, &source)).unwrap();
        let settled = usize::try_from(running.state.assembler.settled()).unwrap();
        let (before, mut ended) = (running.disk.0[..settled].to_vec(), running.clone());
        ended.finish().unwrap();
        assert!(ended.disk.0[..settled] != before);
        ended.disk.reopen(&running.state.assembler);
        assert!(ended.disk.0[..settled] == before);
    }
}
