//! A service account and a certificate that everybody trusts, for one run.

use std::fs;
use std::path::{Path, PathBuf};

use aftercare::clock::Env;
use aftercare::seal::MasterKey;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKey, KeySize};
use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;

/// The files of one run; they go with it.
pub(crate) struct Keys {
    folder: TempDir,
}

impl Keys {
    pub(crate) fn make() -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap() };
        let mut authority = CertificateParams::default();
        // Of its own name: Node takes a certificate whose issuer has the same name for self-signed.
        authority.distinguished_name.push(DnType::CommonName, "Aftercare bench authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap());
        let authority = authority.unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        fs::write(keys.authority(), authority.pem()).unwrap();
        fs::write(keys.path().join("leaf.pem"), leaf.pem()).unwrap();
        fs::write(keys.path().join("leaf.key"), key.serialize_pem()).unwrap();
        MasterKey::load_or_create(&keys.master(), &Env::system()).unwrap();
        keys
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate that clients must trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    pub(crate) fn master(&self) -> PathBuf {
        self.path().join("master.key")
    }

    /// A service account whose tokens come from the sink on that port.
    pub(crate) fn account(&self, port: u16) -> PathBuf {
        let file = self.path().join(format!("account-{port}.json"));
        if file.exists() {
            return file;
        }
        let key = RsaKey::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let base64 = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        );
        let account = json!({
            "type": "service_account", "project_id": "bench", "private_key_id": "1",
            "private_key": pem, "client_email": "bench@bench.iam.gserviceaccount.com",
            "client_id": "1", "token_uri": format!("https://localhost:{port}/token"),
        });
        fs::write(&file, account.to_string()).unwrap();
        file
    }
}
