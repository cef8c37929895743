//! Who we are to the server, and that anybody else is refused.

use std::{fs, path::Path, process::Command};

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tapio_chaos::real::{NatsServer, NatsServerOptions};
use tapio_nats::{ClientCertificate, ConnectError, Connection, Identity, NatsConfig, Secret, Tls};
use tapio_tests::Need;

use super::{Outcome, check, config, connect, plan, run, start};

/// Says whether there is an `openssl` to make certificates with.
pub(super) fn has_openssl() -> Result<(), Need> {
    match Command::new("openssl").arg("version").output() {
        Ok(_version) => Ok(()),
        Err(why) => Err(Need::NotInstalled(format!("openssl: {why}"))),
    }
}

/// Connects and sets up as `right`; every one of `wrong` must be refused.
async fn is_told_apart(server: &NatsServer, right: Identity, wrong: Vec<Identity>) -> Outcome {
    let config = |identity| NatsConfig { identity, ..config(server.url()) };
    connect(&config(right), &plan()).await?;
    for identity in wrong {
        let said = identity.name();
        let config = config(identity);
        let why = Connection::open(&config).await.err().ok_or(format!("{said} is let in"))?;
        check(matches!(why, ConnectError::Refused { .. }), || format!("{said}: {why}"))?;
    }
    Ok(())
}

pub(super) fn secrets() -> Outcome {
    run(async {
        let (ours, other) = (KeyPair::new_user(), KeyPair::new_user());
        let nkey = |pair: &KeyPair| Ok::<_, String>(Identity::Nkey(Secret::new(seed(pair)?)));
        let password = |password: &str| Identity::Password {
            user: "tapio".to_owned(),
            password: Secret::new(password),
        };
        let token = |token: &str| Identity::Token(Secret::new(token));
        let table = [
            (
                format!("authorization {{ users: [{{ nkey: {} }}] }}", ours.public_key()),
                nkey(&ours)?,
                vec![nkey(&other)?, Identity::Anonymous],
            ),
            (
                "authorization { users: [{ user: tapio, password: right }] }".to_owned(),
                password("right"),
                vec![password("wrong"), token("right")],
            ),
            (
                "authorization { token: right }".to_owned(),
                token("right"),
                vec![token("wrong"), Identity::Anonymous],
            ),
        ];
        for (extra, right, wrong) in table {
            let server = start(NatsServerOptions { extra, ..NatsServerOptions::default() }).await?;
            is_told_apart(&server, right, wrong).await?;
        }
        Ok(())
    })
}

fn seed(pair: &KeyPair) -> Outcome<String> {
    pair.seed().map_err(|why| why.to_string())
}

pub(super) fn credentials() -> Outcome {
    run(async {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        let limits = json!({ "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1,
            "data": -1, "payload": -1, "wildcards": true, "mem_storage": -1, "disk_storage": -1,
            "streams": -1, "consumer": -1 });
        let claims = json!({ "type": "operator", "version": 2 });
        let operator_jwt = jwt(&operator, &operator, &claims)?;
        let claims = json!({ "type": "account", "version": 2, "limits": limits });
        let account_jwt = jwt(&operator, &account, &claims)?;
        // The server's own account, without which JetStream does not start.
        let system = KeyPair::new_account();
        let claims = json!({ "type": "account", "version": 2, "limits": { "subs": -1,
            "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1,
            "wildcards": true } });
        let system_jwt = jwt(&operator, &system, &claims)?;
        let (account_key, system_key) = (account.public_key(), system.public_key());
        let extra = format!(
            "operator: {operator_jwt}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload: {{ {account_key}: {account_jwt}, {system_key}: {system_jwt} }}"
        );
        let server = start(NatsServerOptions { extra, ..NatsServerOptions::default() }).await?;
        let right = creds_file(server.directory(), "right", &account)?;
        let wrong = creds_file(server.directory(), "wrong", &KeyPair::new_account())?;
        is_told_apart(&server, right, vec![wrong, Identity::Anonymous]).await
    })
}

/// Writes what `nsc` would for a new user of an account.
fn creds_file(directory: &Path, name: &str, account: &KeyPair) -> Outcome<Identity> {
    let user = KeyPair::new_user();
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let jwt = jwt(account, &user, &claims)?;
    let seed = seed(&user)?;
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let path = directory.join(format!("{name}.creds"));
    fs::write(&path, text).map_err(|why| why.to_string())?;
    Ok(Identity::Credentials(path))
}

/// Signs what `issuer` says of `subject`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> Outcome<String> {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = part(&json!({ "jti": "1", "iat": 1, "iss": issuer.public_key(), "name": "tapio",
        "sub": subject.public_key(), "nats": claims }));
    let text = format!("{header}.{body}");
    let signature = issuer.sign(text.as_bytes()).map_err(|why| why.to_string())?;
    Ok(format!("{text}.{}", BASE64URL_NOPAD.encode(&signature)))
}

pub(super) fn certificate() -> Outcome {
    run(async {
        let directory = tempfile::tempdir().map_err(|why| why.to_string())?;
        let path = |name: &str| directory.path().join(name);
        authority(directory.path(), "ca")?;
        issue(directory.path(), "ca", "server", "subjectAltName=IP:127.0.0.1")?;
        issue(directory.path(), "ca", "client", "subjectAltName=email:tapio@example.org")?;
        authority(directory.path(), "stranger_ca")?;
        issue(directory.path(), "stranger_ca", "stranger", "subjectAltName=email:x@example.org")?;
        let extra = format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
            path("server.pem"),
            path("server.key"),
            path("ca.pem")
        );
        let server = start(NatsServerOptions { extra, ..NatsServerOptions::default() }).await?;
        let with = |ca: &str, client: Option<&str>| {
            let client = client.map(|name| ClientCertificate {
                cert: path(&format!("{name}.pem")),
                key: path(&format!("{name}.key")),
            });
            let tls = Tls { ca: Some(path(ca)), client, required: true, ..Tls::default() };
            NatsConfig { tls, ..config(server.url()) }
        };
        connect(&with("ca.pem", Some("client")), &plan()).await?;
        let table = [
            ("a stranger", with("ca.pem", Some("stranger"))),
            ("somebody without a certificate", with("ca.pem", None)),
            ("a client that does not trust the server", with("stranger_ca.pem", Some("client"))),
        ];
        for (who, config) in table {
            let config = NatsConfig { startup: std::time::Duration::from_secs(1), ..config };
            check(Connection::open(&config).await.is_err(), || format!("{who} is let in"))?;
        }
        Ok(())
    })
}

/// Makes a certificate that signs others.
fn authority(directory: &Path, name: &str) -> Outcome {
    openssl(
        directory,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
             -subj /CN={name} -keyout {name}.key -out {name}.pem"
        ),
    )
}

/// Makes a certificate signed by `ca`.
fn issue(directory: &Path, ca: &str, name: &str, extension: &str) -> Outcome {
    fs::write(directory.join("extension"), extension).map_err(|why| why.to_string())?;
    openssl(
        directory,
        &format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} \
             -keyout {name}.key -out {name}.csr"
        ),
    )?;
    openssl(
        directory,
        &format!(
            "x509 -req -days 30 -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial \
             -extfile extension -out {name}.pem"
        ),
    )
}

fn openssl(directory: &Path, arguments: &str) -> Outcome {
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).current_dir(directory);
    let output = command.output().map_err(|why| why.to_string())?;
    check(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())
}
