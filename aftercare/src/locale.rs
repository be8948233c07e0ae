//! Languages, as BCP 47 tags.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A well-formed BCP 47 language tag in its conventional case (`pt-BR`, `zh-Hant-TW`).
///
/// Well-formed is not registered: `xx-YY` passes, because a phone may know a language before we
/// do; texts are found through [`Locale::fallbacks`]. Tags that are private use or grandfathered
/// as a whole (`x-klingon`, `i-default`) are refused: they name no language. Serialised as the tag.
///
/// ```
/// use aftercare::locale::Locale;
///
/// let locale: Locale = "PT-br".parse()?;
/// assert_eq!(locale.as_str(), "pt-BR");
/// assert_eq!(locale.fallbacks().collect::<Vec<_>>(), ["pt-BR", "pt"]);
/// # Ok::<(), aftercare::locale::LocaleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Locale(String);

/// The longest tag we keep, in bytes: RFC 5646 (4.4.1) expects 35, extensions need some more.
const MAX_LENGTH: usize = 64;

impl Locale {
    /// A tag that this crate writes itself, in its canonical form.
    pub(crate) fn known(tag: &'static str) -> Self {
        Self(tag.to_owned())
    }

    /// The tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The language alone: `pt` of `pt-BR`.
    #[must_use]
    pub fn language(&self) -> &str {
        self.0.split('-').next().unwrap_or(&self.0)
    }

    /// Whether its script runs from right to left.
    #[must_use]
    pub fn is_right_to_left(&self) -> bool {
        const SCRIPTS: [&str; 6] = ["Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm"];
        const LANGUAGES: [&str; 11] =
            ["ar", "arc", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"];
        // Conventional case sets a script apart: nothing else begins with one capital letter.
        let script = self.0.split('-').find(|subtag| {
            subtag.len() == 4 && subtag.starts_with(|first: char| first.is_ascii_uppercase())
        });
        script.map_or_else(
            || LANGUAGES.contains(&self.language()),
            |script| SCRIPTS.contains(&script),
        )
    }

    /// This tag and then ever more general ones, down to the language: the look-up of RFC 4647,
    /// section 3.4.
    pub fn fallbacks(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |tag| {
            let (mut shorter, _) = tag.rsplit_once('-')?;
            // A singleton never stands at the end: it only opens an extension.
            if let Some((rest, last)) = shorter.rsplit_once('-')
                && last.len() == 1
            {
                shorter = rest;
            }
            Some(shorter)
        })
    }
}

impl FromStr for Locale {
    type Err = LocaleError;

    fn from_str(text: &str) -> Result<Self, LocaleError> {
        let refuse = || LocaleError { given: text.chars().take(MAX_LENGTH).collect() };
        if text.len() > MAX_LENGTH {
            return Err(refuse());
        }
        let mut place = Place::Language;
        let mut tag = String::with_capacity(text.len());
        let mut seen = Vec::new();
        for subtag in text.split('-') {
            place = place.next(subtag).ok_or_else(refuse)?;
            if !tag.is_empty() {
                tag.push('-');
            }
            let cased = place.cased(subtag);
            let once = matches!(place, Place::Variant | Place::Singleton);
            if once && seen.contains(&cased) {
                return Err(refuse());
            }
            tag.push_str(&cased);
            if once {
                seen.push(cased);
            }
        }
        if place.may_end() { Ok(Self(tag)) } else { Err(refuse()) }
    }
}

/// Where in the tag a subtag stands; the order of the grammar in RFC 5646, section 2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Before the language: the start.
    Language,
    /// A language that may be followed by up to so many extended language subtags.
    Extendable(u8),
    /// A language of four letters or more.
    Long,
    Script,
    Region,
    Variant,
    Singleton,
    Extension,
    PrivateStart,
    Private,
}

impl Place {
    fn next(self, subtag: &str) -> Option<Self> {
        let length = subtag.len();
        let alpha = subtag.bytes().all(|byte| byte.is_ascii_alphabetic());
        let digits = subtag.bytes().all(|byte| byte.is_ascii_digit());
        let starts_with_digit = subtag.starts_with(|first: char| first.is_ascii_digit());
        if !(1..=8).contains(&length) || !subtag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        match self {
            Self::Language => match length {
                2..=3 if alpha => Some(Self::Extendable(3)),
                4..=8 if alpha => Some(Self::Long),
                _ => None,
            },
            Self::PrivateStart | Self::Private => Some(Self::Private),
            Self::Singleton if length < 2 => None,
            Self::Singleton => Some(Self::Extension),
            _ if length == 1 && subtag.eq_ignore_ascii_case("x") => Some(Self::PrivateStart),
            _ if length == 1 => Some(Self::Singleton),
            Self::Extension => Some(Self::Extension),
            Self::Extendable(left @ 1..) if length == 3 && alpha => {
                Some(Self::Extendable(left - 1))
            }
            _ if self < Self::Script && length == 4 && alpha => Some(Self::Script),
            _ if self < Self::Region && (length == 2 && alpha || length == 3 && digits) => {
                Some(Self::Region)
            }
            _ if length >= 5 || length == 4 && starts_with_digit => Some(Self::Variant),
            _ => None,
        }
    }

    fn may_end(self) -> bool {
        !matches!(self, Self::Language | Self::Singleton | Self::PrivateStart)
    }

    fn cased(self, subtag: &str) -> String {
        let lower = subtag.to_ascii_lowercase();
        match self {
            Self::Region => subtag.to_ascii_uppercase(),
            Self::Script => {
                let mut letters = lower.chars();
                letters.next().map_or_else(String::new, |first| {
                    format!("{}{}", first.to_ascii_uppercase(), letters.as_str())
                })
            }
            _ => lower,
        }
    }
}

impl TryFrom<String> for Locale {
    type Error = LocaleError;

    fn try_from(text: String) -> Result<Self, LocaleError> {
        text.parse()
    }
}

impl From<Locale> for String {
    fn from(locale: Locale) -> Self {
        locale.0
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Text that is not a language tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a language tag; give one of BCP 47, such as `en`, `pt-BR` or `zh-Hant`")]
pub struct LocaleError {
    given: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_take_their_conventional_case() {
        for (given, tag) in [
            ("EN", "en"),
            ("pt-br", "pt-BR"),
            ("ZH-hANT-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("sl-ROZAJ-biske", "sl-rozaj-biske"),
            ("de-1996", "de-1996"),
            ("zh-yue-HK", "zh-yue-HK"),
            ("en-US-U-CA-Gregory", "en-US-u-ca-gregory"),
            ("fr-x-Clinic", "fr-x-clinic"),
        ] {
            assert_eq!(given.parse::<Locale>().expect(given).as_str(), tag);
        }
    }

    #[test]
    fn what_is_not_a_tag_is_refused() {
        for given in [
            "",
            "e",
            "en_US",
            "en-",
            "-en",
            "en--US",
            "en-US-US",
            "en-u",
            "en-x",
            "x-klingon",
            "i-default",
            "en-u-ca-gregory-u-nu-latn",
            "sl-rozaj-rozaj",
            "português",
            "123",
            "en US",
            "abcdefghi",
        ] {
            assert!(given.parse::<Locale>().is_err(), "{given:?}");
        }
        assert!("en-abcdefgh".repeat(9).parse::<Locale>().is_err());
    }

    #[test]
    fn fallbacks_end_at_the_language() {
        let fallbacks = |tag: &str| {
            let locale: Locale = tag.parse().unwrap();
            locale.fallbacks().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(fallbacks("fr"), ["fr"]);
        assert_eq!(fallbacks("zh-Hant-TW"), ["zh-Hant-TW", "zh-Hant", "zh"]);
        assert_eq!(fallbacks("en-u-ca-gregory"), ["en-u-ca-gregory", "en-u-ca", "en"]);
    }

    #[test]
    fn scripts_run_their_own_way() {
        let runs = |tag: &str| tag.parse::<Locale>().unwrap().is_right_to_left();
        for tag in ["ar", "ar-EG", "he", "fa-IR", "ur", "az-Arab", "ckb-IQ"] {
            assert!(runs(tag), "{tag}");
        }
        for tag in ["en", "pt-BR", "zh-Hant", "ur-Latn", "ar-Latn-x-arab", "en-u-ca-arab"] {
            assert!(!runs(tag), "{tag}");
        }
    }
}
