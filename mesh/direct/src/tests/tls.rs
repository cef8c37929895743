//! Who trusts whom.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tapio_bus::Bus as _;
use tempfile::TempDir;

use super::{GateSink, batch, serve};
use crate::{DirectBus, DirectConfig, DirectError, DirectTls, ServeConfig, ServeTls};

type Failure = Box<dyn std::error::Error>;

/// An authority with one certificate for this machine.
struct Authority {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(home: &TempDir, name: &str) -> Result<Self, Failure> {
        let path = |what: &str| home.path().join(format!("{name}-{what}.pem"));
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let cert =
            CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &issuer)?;
        let made = Self { ca: path("ca"), cert: path("cert"), key: path("key") };
        std::fs::write(&made.ca, issuer.pem())?;
        std::fs::write(&made.cert, cert.pem())?;
        std::fs::write(&made.key, key.serialize_pem())?;
        Ok(made)
    }

    fn serves(&self, client_ca: Option<&Self>) -> ServeConfig {
        let tls = ServeTls {
            cert: self.cert.clone(),
            key: self.key.clone(),
            client_ca: client_ca.map(|authority| authority.ca.clone()),
        };
        ServeConfig { tls: Some(tls), ..ServeConfig::default() }
    }

    fn client(&self, port: u16, client: Option<&Self>) -> DirectConfig {
        let tls = DirectTls {
            ca: Some(self.ca.clone()),
            client: client.map(|it| (it.cert.clone(), it.key.clone())),
            name: None,
        };
        DirectConfig { tls: Some(tls), ..DirectConfig::to([format!("localhost:{port}")]) }
    }
}

#[tokio::test]
async fn only_who_is_trusted_is_talked_to_and_the_refusal_names_the_cure() {
    let home = TempDir::new().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(&home, name).unwrap());
    let sink = GateSink::new(true);
    let server = serve(&sink, ours.serves(None)).await.unwrap();
    let port = server.address().port();

    let bus = DirectBus::start(ours.client(port, None)).unwrap();
    bus.publish(batch(1)).await.unwrap();
    assert_eq!(sink.kept().len(), 1);

    let wrong = DirectBus::probe(&theirs.client(port, None)).await.unwrap_err();
    assert!(matches!(wrong, DirectError::Untrusted { .. }), "{wrong}");
    assert!(wrong.to_string().contains("set `ca` to the certificate of the authority"), "{wrong}");

    let plain = DirectConfig { tls: None, ..ours.client(port, None) };
    assert!(DirectBus::probe(&plain).await.is_err(), "a node with TLS takes nothing without");
}

#[tokio::test]
async fn a_node_that_asks_for_a_certificate_takes_only_those_it_trusts() {
    let home = TempDir::new().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(&home, name).unwrap());
    let server = serve(&GateSink::new(true), ours.serves(Some(&ours))).await.unwrap();
    let port = server.address().port();
    assert_eq!(DirectBus::probe(&ours.client(port, Some(&ours))).await, Ok(64));
    for client in [None, Some(&theirs)] {
        let refused = DirectBus::probe(&ours.client(port, client)).await.unwrap_err();
        assert!(refused.to_string().contains("check `ca`, `cert` and `key`"), "{refused}");
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let config = DirectConfig {
        tls: Some(DirectTls { ca: Some("/nonexistent/ca.pem".into()), ..DirectTls::default() }),
        ..DirectConfig::to(["localhost:1"])
    };
    let refused = DirectBus::probe(&config).await.unwrap_err();
    assert!(refused.to_string().starts_with("cannot use /nonexistent/ca.pem"), "{refused}");
}
