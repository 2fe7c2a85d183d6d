//! The file that an assembler's writes make, in memory.

use greenroom::domain::assembly::{Write, Writes};

/// Does to this file what is to be written.
pub fn apply(writes: &Writes, file: &mut Vec<u8>) {
    for write in writes.iter() {
        match write {
            Write::Append(bytes) => file.extend_from_slice(bytes),
            Write::Skip(count) => file.resize(file.len() + count, 0),
            Write::Patch { at, bytes } => {
                let at = usize::try_from(at).unwrap();
                file[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}
