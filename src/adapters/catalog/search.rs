//! Words that are searched, and the pattern that finds them, the same on every database.

use crate::adapters::ports::CatalogRow;

/// Stands before a character of a pattern that means itself; the statements say so.
const ESCAPE: char = '!';

/// More letters than any row has words. Databases refuse patterns that are much longer.
const LETTERS_MAX: usize = 1000;

/// What a recording can be found by: title, room and name in small letters, a line each.
pub(super) fn words(row: &CatalogRow) -> String {
    let title = row.title.as_deref().unwrap_or_default();
    let room = row.room.as_ref().map(ToString::to_string).unwrap_or_default();
    small(&format!("{title}\n{room}\n{}", row.record_id))
}

/// The pattern (`LIKE`) of whatever holds this text; of one that is too long for any row, of its beginning, which no row
/// holds either.
pub(super) fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in small(text).chars().take(LETTERS_MAX) {
        match letter {
            '%' | '_' | ESCAPE => pattern.extend([ESCAPE, letter]),
            // No title has any, so it finds nothing; a line's end would find two words side by side.
            _ if letter.is_control() => pattern.push('\u{1}'),
            _ => pattern.push(letter),
        }
    }
    pattern.push('%');
    pattern
}

/// Letter by letter, so that a part of a word becomes the same as within the word. The sigma that ends a word is the
/// one letter that would not.
fn small(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_a_pattern_means_itself() {
        assert_eq!(pattern("50%_Off!"), "%50!%!_off!!%");
        assert_eq!(pattern(r#"a\'b""#), r#"%a\'b"%"#);
        assert_eq!(pattern("blue\nroom"), "%blue\u{1}room%");
        assert_eq!(pattern(""), "%%");
    }

    #[test]
    fn a_part_of_a_word_becomes_what_it_is_within_the_word() {
        let within = small("ΟΔΥΣΣΕΥΣ");
        for part in ["ΟΔΥΣ", "οδυς", "ΣΕΥΣ", "Σ"] {
            assert!(within.contains(&small(part)), "{part}");
        }
    }
}
