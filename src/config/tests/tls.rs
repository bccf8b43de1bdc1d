//! `[tls]`: what it takes, where its files are looked for, and the sentences with which it refuses.

use super::*;

fn tls(written: &str) -> Tls {
    load(&format!("[tls]\n{written}"), &[], &Flags::default()).unwrap().tls
}

#[test]
fn no_tls_is_spoken_unless_there_is_a_certificate() {
    let tls = Config::default().tls;
    assert!(!tls.is_configured());
    assert_eq!(tls.certificates().count(), 0);
}

#[test]
fn certificates_come_in_their_order_with_paths_beside_the_file() {
    let written = r#"
        cert = "/etc/a.pem"
        key = "/etc/a.key"
        certificates = [{ cert = "/etc/b.pem", key = "/etc/b.key" }]
    "#;
    let tls = tls(written);
    assert!(tls.is_configured());
    let certs: Vec<_> = tls.certificates().map(|certificate| certificate.cert.clone()).collect();
    assert_eq!(certs, [PathBuf::from("/etc/a.pem"), PathBuf::from("/etc/b.pem")]);

    let directory = scratch();
    let path = directory.join("wirefan.toml");
    fs::write(&path, "tls.cert = \"a.pem\"").unwrap();
    let variables = [("WIREFAN_TLS__KEY".to_owned(), "a.key".to_owned())];
    let config = Config::load(Some(&path), variables.into_iter(), &Flags::default()).unwrap();
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(config.tls.first.cert, directory.join("a.pem"));
    assert_eq!(config.tls.first.key, std::env::current_dir().unwrap().join("a.key"));
}

#[test]
fn what_belongs_together_is_demanded() {
    for (written, refused) in [
        ("cert = \"/c\"", r#"tls.key = "" (the default): must name the key of tls.cert"#),
        ("key = \"/k\"", r#"tls.cert = "" (the default): must name the certificate of tls.key"#),
        (
            "certificates = [{ cert = \"/c\", key = \"/k\" }]",
            "wirefan.toml:2: tls.certificates = [{ cert = \"/c\", key = \"/k\" }]: are those beside tls.cert and tls.key, \
             which must name the one for all other names",
        ),
        (
            "listen = [\"127.0.0.1:1\"]",
            r#"wirefan.toml:2: tls.listen = ["127.0.0.1:1"]: needs a certificate, tls.cert and tls.key"#,
        ),
        (
            "cert = \"/c\"\nkey = \"/k\"\nlisten = [\"127.0.0.1:8080\"]",
            "wirefan.toml:4: tls.listen = [\"127.0.0.1:8080\"]: names 127.0.0.1:8080, as server.listen does; without \
             tls.listen TLS is spoken there",
        ),
        (
            "cert = \"/c\"\nkey = \"/k\"\nlisten = [\"127.0.0.1:1\",\"127.0.0.1:1\"]",
            r#"wirefan.toml:4: tls.listen = ["127.0.0.1:1","127.0.0.1:1"]: names 127.0.0.1:1 twice"#,
        ),
    ] {
        assert_eq!(refusal(&format!("[tls]\n{written}")), refused);
    }
}

#[test]
fn a_public_address_with_tls_needs_the_operators_word_as_any_other() {
    let written = "tls.cert = \"/c\"\ntls.key = \"/k\"\ntls.listen = [\"0.0.0.0:443\"]\n";
    let refused = refusal(written);
    assert!(
        refused.starts_with("wirefan.toml:3: tls.listen = [\"0.0.0.0:443\"]: 0.0.0.0:443 can be reached"),
        "{refused}"
    );
    load(&format!("{written}server.allow_anonymous = \"always\""), &[], &Flags::default()).unwrap();
}

#[test]
fn a_certificate_has_a_cert_and_a_key() {
    let shape = r#"must be a list of certificates, such as [{ cert = "b.pem", key = "b.key" }]"#;
    for (written, reason) in [
        ("3", shape),
        ("[\"c\"]", shape),
        ("[{}]", "its certificate 1 needs both cert and key"),
        (r#"[{ cert = "c", key = "k" }, { cert = "c" }]"#, "its certificate 2 needs both cert and key"),
        (r#"[{ crt = "c" }]"#, "its certificate 1 has the unknown key crt; it has cert and key"),
        (
            r#"[{ cert = "" }]"#,
            "its certificate 1 has a wrong cert, which must be a text of 1 to 4096 bytes on one line",
        ),
    ] {
        let refused = refusal(&format!("tls.certificates = {written}"));
        assert_eq!(refused, format!("wirefan.toml:1: tls.certificates = {}: {reason}", error::excerpt(written)));
    }
    let many = vec![r#"{ cert = "c", key = "k" }"#; 64].join(", ");
    assert!(refusal(&format!("tls.certificates = [{many}]")).ends_with(": has more than 63 certificates"));
}
