//! The clinic's apps, as this server vouches for them: phones then open its invitations in them.
//!
//! Android asks for `/.well-known/assetlinks.json` ([App Links]), iPhones, through Apple, for
//! `/.well-known/apple-app-site-association` ([associated domains]).
//!
//! [App Links]: https://developer.android.com/training/app-links/verify-android-applinks
//! [associated domains]: https://developer.apple.com/documentation/xcode/supporting-associated-domains

use std::str::FromStr;

use serde_json::{Value, json};

/// The apps that invitations open in.
#[derive(Debug, Clone, Default)]
pub struct Apps {
    /// On Android; the same package once for each certificate.
    pub android: Vec<AndroidApp>,
    /// On iPhones.
    pub ios: Vec<IosApp>,
}

impl Apps {
    /// What Android asks for; `None` when there is no app on it.
    pub(crate) fn asset_links(&self) -> Option<Value> {
        let statement = |app: &AndroidApp| {
            json!({
                "relation": ["delegate_permission/common.handle_all_urls"],
                "target": {
                    "namespace": "android_app",
                    "package_name": app.package,
                    "sha256_cert_fingerprints": [app.certificate],
                },
            })
        };
        (!self.android.is_empty()).then(|| self.android.iter().map(statement).collect())
    }

    /// What Apple asks for, of invitations under `path`; `None` when there is no app on iPhones.
    pub(crate) fn site_association(&self, path: &str) -> Option<Value> {
        let ids: Vec<&str> = self.ios.iter().map(|app| app.0.as_str()).collect();
        let details = json!([{"appIDs": ids, "components": [{"/": path}]}]);
        (!ids.is_empty()).then(|| json!({"applinks": {"details": details}}))
    }
}

/// An Android app: its package, and the SHA-256 of the certificate that it is signed with, written
/// `care.example.app:14:6D:E9:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AndroidApp {
    package: String,
    /// In capitals, with a colon after each byte.
    certificate: String,
}

impl FromStr for AndroidApp {
    type Err = AppError;

    fn from_str(text: &str) -> Result<Self, AppError> {
        let (package, certificate) = text.split_once(':').ok_or(AppError::Android)?;
        let bytes = hex::decode(certificate.replace(':', "")).ok();
        let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or(AppError::Android)?;
        let certificate: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        if !is_name(package) {
            return Err(AppError::Android);
        }
        Ok(Self { package: package.to_owned(), certificate: certificate.join(":") })
    }
}

/// An iPhone app: the team's id and the bundle's, `ABCDE12345.care.example.app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IosApp(String);

impl FromStr for IosApp {
    type Err = AppError;

    fn from_str(text: &str) -> Result<Self, AppError> {
        let (team, bundle) = text.split_once('.').ok_or(AppError::Ios)?;
        let team = team.len() == 10 && team.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if team && is_name(bundle) { Ok(Self(text.to_owned())) } else { Err(AppError::Ios) }
    }
}

/// Words with dots between them, as packages and bundles are called.
fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    text.split('.').all(|word| !word.is_empty() && word.bytes().all(letter))
}

/// Text that names no app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// None on Android.
    #[error(
        "not an app; write its package, a colon, and the SHA-256 of its certificate in hexadecimal"
    )]
    Android,
    /// None on iPhones.
    #[error("not an app; write the team's id of ten characters, a dot, and the bundle's")]
    Ios,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_written_as_google_wants_it() {
        let certificate = ["AB"; 32].join(":");
        let app = AndroidApp { package: "care.example.app".to_owned(), certificate };
        let plain = format!("care.example.app:{}", "ab".repeat(32));
        for text in [plain, format!("care.example.app:{}", app.certificate)] {
            assert_eq!(text.parse::<AndroidApp>().as_ref(), Ok(&app), "{text}");
        }
    }

    #[test]
    fn what_is_no_app_is_refused() {
        let (certificate, short) = ("ab".repeat(32), "ab".repeat(20));
        for wrong in ["", "care.example.app", ":", &format!("care..app:{certificate}")] {
            assert_eq!(wrong.parse::<AndroidApp>(), Err(AppError::Android), "{wrong}");
        }
        for wrong in [format!("care.example.app:{short}"), format!("a b:{certificate}")] {
            assert_eq!(wrong.parse::<AndroidApp>(), Err(AppError::Android), "{wrong}");
        }
        assert!("ABCDE12345.care.example.app".parse::<IosApp>().is_ok());
        for wrong in ["", "care.example.app", "ABCDE12345", "ABCDE12345.", "ABCDE12345.a\"b"] {
            assert_eq!(wrong.parse::<IosApp>(), Err(AppError::Ios), "{wrong}");
        }
    }
}
