//! `wirefan token`: a token for tests, or an API key for a backend, to standard output.
//!
//! A token is signed with a key of the configuration and says what the configuration asks for, so that the broker with
//! this configuration takes it. An API key is shown this once; the file gets the line behind it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::Token;
use super::outcome::Failure;
use super::serve::load;
use crate::auth::{IssueError, NewApiKey, PrivateKey, Wish};
use crate::config::Flags;
use crate::limits::KEY_FILE_BYTES_MAX;
use crate::net::ambient;

/// Makes what the arguments ask for.
pub(super) fn token(arguments: &Token) -> Result<(), Failure> {
    let text = match (&arguments.user, &arguments.api_key) {
        (Some(user), _) => signed(user, arguments)? + "\n",
        (None, Some(name)) => api_key(name, arguments)?,
        (None, None) => return Err(Failure::Wrong("say whose token it is, --user, or --api-key".to_owned())),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::from_stdout(&error))
}

fn signed(user: &str, arguments: &Token) -> Result<String, Failure> {
    let config = load(arguments.config.as_deref(), &Flags::default())?;
    let credentials = config.credentials().map_err(|error| Failure::Wrong(error.to_string()))?;
    let private = arguments.key.as_deref().map(private_key).transpose()?;
    let wish = Wish {
        user,
        subscribe: &arguments.subscribe,
        publish: &arguments.publish,
        operate: arguments.operate,
        now_unix_s: ambient::now_unix_s(),
        ttl_s: arguments.ttl.into(),
    };
    credentials.tokens.issue(&wish, private.as_ref()).map_err(|error| {
        let place = arguments.key.as_ref().filter(|_| error == IssueError::Stranger);
        match (error, place) {
            (_, Some(path)) => Failure::Wrong(format!("{} {error}", path.display())),
            (IssueError::NoSecret, _) => Failure::Wrong(format!(
                "{error}: name a configuration that has one with --config, or a private key with --key"
            )),
            (IssueError::Refused(_), _) => Failure::Wrong(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    })
}

fn private_key(path: &Path) -> Result<PrivateKey, Failure> {
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut pem));
    read.map_err(|error| Failure::Failed(format!("cannot read {}: {error}", path.display())))?;
    PrivateKey::from_pem(&pem).map_err(|error| Failure::Wrong(format!("{} {error}", path.display())))
}

/// The key, then the line for the file.
fn api_key(name: &str, arguments: &Token) -> Result<String, Failure> {
    let random = ambient::random().map_err(|error| Failure::Failed(format!("cannot get randomness: {error}")))?;
    let Token { subscribe, publish, operate, .. } = arguments;
    let made = NewApiKey::new(name, subscribe, publish, *operate, random)
        .map_err(|error| Failure::Wrong(format!("the API key {error}")))?;
    Ok(format!("{}\n{}\n", made.key, made.line))
}
