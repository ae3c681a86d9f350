//! Selectors: names by which messages are sent and listened for.
//!
//! A *selector* is words joined by dots (`pipeline.process.EU`). A *pattern* may have `*` for one word and, at its end,
//! `#` for any number of them. Sending to a selector that ends in `.*` sends to every member of that *group*.
//! (The seed's mock takes regular expressions, in which the dots of a plain selector match anything.)

/// Why a selector or a pattern is refused.
pub fn check(text: &str, pattern: bool) -> Result<(), String> {
    let words: Vec<&str> = text.split('.').collect();
    let plain = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let last = words.len() - 1;
    let legal = text.len() <= 200
        && words
            .iter()
            .enumerate()
            .all(|(index, word)| plain(word) || (pattern && (*word == "*" || (*word == "#" && index == last))));
    if legal {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is not a selector (words of letters, digits, _ and -, joined by dots)"
        ))
    }
}

/// Whether a selector is one that the pattern means.
pub fn matches(pattern: &str, selector: &str) -> bool {
    let mut words = selector.split('.');
    for part in pattern.split('.') {
        match (part, words.next()) {
            ("#", _) => return true,
            ("*", Some(_)) => {}
            (part, Some(word)) if part == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

/// The group that a selector sends to, if it does: `news` of `news.*`.
pub fn group(selector: &str) -> Option<&str> {
    selector.strip_suffix(".*").filter(|name| check(name, false).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_by_the_word() {
        for (pattern, selector, expected) in [
            ("cached.EU", "cached.EU", true),
            ("cached.EU", "cachedxEU", false),
            ("cached.*", "cached.EU", true),
            ("cached.*", "cached.EU.x", false),
            ("pipeline.#", "pipeline.process.EU", true),
            ("pipeline.#", "pipeline", true),
            ("pipeline.*.EU", "pipeline.process.EU", true),
            ("pipeline.*.EU", "pipeline.process.NA", false),
            ("a", "a.b", false),
        ] {
            assert_eq!(matches(pattern, selector), expected, "{pattern} {selector}");
        }
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for bad in ["", ".", "a..b", "a b", "a.*", "#.a", "ä"] {
            assert!(check(bad, false).is_err(), "{bad:?}");
        }
        assert!(check("a.*", true).is_ok() && check("#.a", true).is_err());
        assert_eq!(group("news.*"), Some("news"));
        assert_eq!(group("news"), None);
    }
}
