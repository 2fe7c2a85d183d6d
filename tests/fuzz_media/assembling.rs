//! The assembler takes or refuses whatever comes, and makes the same file of it however it is cut.

use greenroom::domain::assembly::{Assembler, Checkpoint, Prover, Rules, Unfit, Writes};

use crate::{
    SHORT,
    apply::apply,
    generator::Generator,
    support::{Chance, FIRST_SEED, fuzz},
};

/// Small, so that the bounds are met.
const RULES: Rules = Rules {
    cluster_ms_max: 700,
    cluster_bytes_max: 3000,
    unit_bytes_max: 2000,
    header_bytes_max: 1500,
    fragment_bytes_max: 6000,
    fragment_samples_max: 20,
    tables_bytes_max: 1000,
    cues_max: 4,
    gaps_max: 5,
    segments_max: 4,
};

/// Beside what a rule bounds: the state's own words.
const STATE_BYTES: usize = 16 * 1024;

/// What comes: bytes that begin a segment or go on, or something missing.
enum Run {
    Bytes(bool, Vec<u8>),
    Missing(u32),
}

fn runs(generator: &mut Generator) -> Vec<Run> {
    let mut runs = Vec::new();
    for _ in 0..1 + generator.chance.below(3) {
        let bytes = generator.media();
        let cut = generator.chance.below(bytes.len() + 1);
        let (one, other) = bytes.split_at(cut);
        runs.push(Run::Bytes(true, one.to_vec()));
        if generator.chance.one_in(3) {
            runs.push(Run::Missing(1 + u32::try_from(generator.chance.below(3)).unwrap()));
        }
        runs.push(Run::Bytes(false, other.to_vec()));
    }
    runs
}

/// The file, and who made it; pieces and checkpoints by chance, and by chance it is read while it grows.
fn assemble(runs: &[Run], chance: &mut Chance) -> Result<(Vec<u8>, Assembler), Unfit> {
    let (mut state, mut file, mut writes) = (Checkpoint::new(RULES), Vec::new(), Writes::default());
    for run in runs {
        let assembler = &mut state.assembler;
        let (mut begins, mut bytes) = match run {
            Run::Bytes(begins, bytes) => (*begins, &bytes[..]),
            Run::Missing(count) => {
                assembler.gap(assembler.next()..assembler.next() + count);
                continue;
            }
        };
        while begins || !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(1 + chance.size()));
            let assembler = &mut state.assembler;
            let taken = assembler.chunk(assembler.next(), begins, piece, &mut writes);
            apply(&writes, &mut file);
            assert_eq!(file.len() as u64, assembler.length());
            if let Err(unfit) = taken {
                assert_eq!(
                    assembler.finish(&mut writes, |_, _| Ok(())),
                    Err(unfit.clone()),
                    "it stays at this"
                );
                return Err(unfit);
            }
            assert!(assembler.settled() <= assembler.length());
            (begins, bytes) = (false, rest);
            if chance.one_in(2) {
                read_on(&mut state, &file);
            }
            if chance.one_in(4) {
                let saved = state.save();
                assert!(saved.len() < STATE_BYTES, "a state of {} bytes", saved.len());
                state = Checkpoint::restore(&saved).unwrap();
            }
        }
    }
    state.assembler.finish(&mut writes, |at, into| {
        let at = usize::try_from(at).unwrap();
        into.copy_from_slice(&file[at..at + into.len()]);
        Ok::<_, Unfit>(())
    })?;
    apply(&writes, &mut file);
    let Checkpoint { assembler, prover } = state;
    prove(prover, &file, &assembler);
    Ok((file, assembler))
}

fn read_on(state: &mut Checkpoint, file: &[u8]) {
    let at = |position: u64| usize::try_from(position).unwrap();
    let unread = &file[at(state.prover.read())..at(state.assembler.settled())];
    state.prover.feed(unread, &state.assembler).unwrap();
}

/// What is left to be read is what was written, and so is the head.
fn prove(mut prover: Prover, file: &[u8], assembler: &Assembler) {
    prover.feed(&file[usize::try_from(prover.read()).unwrap()..], assembler).unwrap();
    prover.finish(&file[..usize::try_from(assembler.head_bytes()).unwrap()], assembler).unwrap();
}

#[test]
fn the_assembler_takes_or_refuses_whatever_comes() {
    fuzz("the assembler", SHORT, |seed| {
        let mut generator = Generator::new(seed);
        for _ in 0..10 {
            let runs = runs(&mut generator);
            let came: usize =
                runs.iter().map(|run| if let Run::Bytes(_, bytes) = run { bytes.len() } else { 0 }).sum();
            let one = assemble(&runs, &mut generator.chance);
            let other = assemble(&runs, &mut generator.chance);
            match (&one, &other) {
                (Ok((one, assembler)), Ok((other, _))) => {
                    assert!(one == other, "cut otherwise, another file");
                    // A block that stands in a Cluster of its own, and leads to it, takes some 60 bytes more; a sample
                    // of one byte some 30, in its fragment and in the tables.
                    assert!(one.len() <= 30 * came + 2000, "{} bytes of {came}", one.len());
                    prove(Prover::new(), one, assembler);
                }
                (Err(_), Err(_)) => {}
                _ => panic!("cut otherwise, judged otherwise: {:?} {:?}", one.err(), other.err()),
            }
        }
    });
}

/// Enough of what is thrown is assembled, and enough refused, or the fuzzing would say nothing.
#[test]
fn both_are_thrown_at_the_assembler() {
    let mut generator = Generator::new(FIRST_SEED);
    let (mut taken, mut in_fragments, mut refused) = (0, 0, 0);
    for _ in 0..600 {
        let runs = runs(&mut generator);
        match assemble(&runs, &mut Chance(3)) {
            Ok((file, _)) if file[4..].starts_with(b"ftyp") => in_fragments += 1,
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
    }
    let each = (taken, in_fragments, refused);
    assert!(taken.min(in_fragments).min(refused) > 10, "taken, taken in fragments, refused: {each:?}");
}

#[test]
fn bytes_that_are_no_checkpoint_are_refused() {
    fuzz("checkpoints", SHORT / 4, |seed| {
        let mut generator = Generator::new(seed);
        let mut checkpoint = Checkpoint::new(RULES);
        let media = generator.media();
        let _ = checkpoint.assembler.chunk(0, true, &media, &mut Writes::default());
        let mut state = checkpoint.save();
        let at = generator.chance.below(state.len());
        state[at] ^= 1 << generator.chance.below(8);
        assert!(Checkpoint::restore(&state).is_err());
        assert!(Checkpoint::restore(&media).is_err());
    });
}
