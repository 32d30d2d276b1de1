//! Who a program is to its broker. Secrets come from files or from the environment: a command line is seen by everybody.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind};

/// A token; `_FILE` behind the name: a file that has it.
pub(crate) const TOKEN: &str = "PROCESSION_NATS_TOKEN";
/// A file with the seed of an nkey.
pub(crate) const NKEY_FILE: &str = "PROCESSION_NATS_NKEY_FILE";
/// A file with credentials, as `nsc` writes them.
pub(crate) const CREDENTIALS_FILE: &str = "PROCESSION_NATS_CREDENTIALS_FILE";
/// A file with certificates of authorities, for TLS.
pub(crate) const CA_FILE: &str = "PROCESSION_NATS_CA_FILE";

/// How a program proves who it is, and knows its broker.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) token: Option<String>,
    pub(crate) nkey: Option<String>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) authorities: Option<PathBuf>,
}

impl Credentials {
    /// Those that the environment names.
    pub(crate) fn from_env() -> Result<Credentials, Error> {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let secret = |name: &str| {
            path(name).map(|path| {
                let text = fs::read_to_string(&path);
                let text = text.map_err(|error| {
                    Error::new(ErrorKind::Usage, format!("{name}: cannot read {}: {error}", path.display()))
                })?;
                Ok(text.trim().to_owned())
            })
        };
        let token = match env::var(TOKEN) {
            Ok(token) if !token.is_empty() => Some(token),
            _ => secret(&format!("{TOKEN}_FILE")).transpose()?,
        };
        let nkey = secret(NKEY_FILE).transpose()?;
        Ok(Credentials { token, nkey, file: path(CREDENTIALS_FILE), authorities: path(CA_FILE) })
    }
}

/// Refuses an address that has a secret in it, or is none.
pub(crate) fn check_address(address: &str) -> Result<(), Error> {
    let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
    let Some((scheme, rest)) = address.split_once("://") else {
        return usage(format!(
            "`{address}` is no address of a broker: write nats://HOST:4222, or tls://HOST:4222"
        ));
    };
    if !["nats", "tls"].contains(&scheme) {
        return usage(format!(
            "`{scheme}://` is no broker that is known here: write nats://HOST:4222 or tls://HOST:4222"
        ));
    }
    if rest.contains('@') {
        return usage(format!(
            "the address has credentials in it, and command lines are seen by everybody on the machine: leave them out, \
             and set {TOKEN}_FILE, {NKEY_FILE} or {CREDENTIALS_FILE}"
        ));
    }
    if rest.trim_matches('/').is_empty() {
        return usage(format!("`{address}` names no host: write nats://HOST:4222"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_secrets_refused() {
        assert!(check_address("nats://localhost:4222").is_ok() && check_address("tls://h").is_ok());
        for (address, said) in [
            ("localhost:4222", "is no address"),
            ("http://h", "is no broker"),
            ("nats://", "names no host"),
            ("nats://me:secret@h", "has credentials in it"),
        ] {
            let error = check_address(address).expect_err(address).to_string();
            assert!(error.contains(said) && !error.contains("secret@"), "{error}");
        }
    }
}
