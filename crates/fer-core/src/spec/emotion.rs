//! The words that name emotions in folders, files and models ([`emotion`]).

/// The eighth class of CK+ and AffectNet, beside the seven [`EMOTIONS`](super::EMOTIONS).
pub const CONTEMPT: &str = "contempt";

/// Each emotion with the other words for it. One misspelling is that of public data sets.
const WORDS: [(&str, &[&str]); 8] = [
    ("angry", &["anger"]),
    (CONTEMPT, &["contemptuous"]),
    ("disgust", &["disgusted"]),
    ("fear", &["fearful", "afraid", "scared"]),
    ("happy", &["happiness", "joy", "joyful"]),
    ("neutral", &["neutrality"]),
    ("sad", &["sadness"]),
    ("surprise", &["surprised", "suprise"]),
];

/// The emotion that a name means, one of [`EMOTIONS`](super::EMOTIONS) or [`CONTEMPT`]: the name
/// itself or another word for it, letters in either case, with or without a number before or behind
/// it (`0_angry`, `1-Joy`, `sadness (5)`).
pub fn emotion(name: &str) -> Option<&'static str> {
    let name = name.trim().to_lowercase();
    let is_digit = |c: char| c.is_ascii_digit();
    let is_gap = |c: char| c == ' ' || c.is_ascii_punctuation();
    let front = name.trim_start_matches(is_digit).trim_start_matches(is_gap);
    let back = front.trim_end_matches(')').trim_end_matches(is_digit);
    let word = match back.len() < front.len() && back.ends_with(is_gap) {
        true => back.trim_end_matches(is_gap),
        false => front,
    };
    let means = |(emotion, others): &&(&str, &[&str])| *emotion == word || others.contains(&word);
    WORDS.iter().find(means).map(|(emotion, _)| *emotion)
}

#[cfg(test)]
mod tests {
    use super::super::EMOTIONS;
    use super::*;

    #[test]
    fn words_mean_emotions() {
        let rows = [
            ("Anger", Some("angry")),
            ("DISGUSTED", Some("disgust")),
            ("joy", Some("happy")),
            ("0_angry", Some("angry")),
            ("1-happy", Some("happy")),
            ("02 Neutrality", Some("neutral")),
            ("3. sadness", Some("sad")),
            ("4fear", Some("fear")),
            ("surprise_6", Some("surprise")),
            ("contempt (7)", Some("contempt")),
            (" sad ", Some("sad")),
            ("Suprise", Some("surprise")),
            ("angry2", None),
            ("sda", None),
            ("3", None),
            ("", None),
            ("_", None),
            ("happy people", None),
            ("İ", None),
        ];
        let known = EMOTIONS.iter().map(|name| (*name, Some(*name)));
        let wrong: Vec<_> = known
            .chain(rows)
            .map(|(name, meant)| (name, emotion(name), meant))
            .filter(|(_, found, meant)| found != meant)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
