//! Which remotes are understood: an allow-list grammar, so that no URL is ever read as an option, a
//! command or a transport helper.

use std::path::{Path, PathBuf};

use super::failure::GitError;

/// A checked remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A repository on this machine; the path is absolute.
    Local(PathBuf),
    /// `http://` or `https://`.
    Http(String),
    /// `ssh://` or `user@host:path`.
    Ssh(String),
}

impl Remote {
    /// Checks a URL. Relative paths are taken from `root`.
    pub fn parse(url: &str, root: &Path) -> Result<Self, GitError> {
        let refuse = |why: &str| GitError::Invalid(format!("url {:?}: {why}", super::failure::cap(url, 200)));
        if url.is_empty() || url.starts_with('-') {
            return Err(refuse("it must not be empty or start with '-'"));
        }
        if url.chars().any(char::is_control) {
            return Err(refuse("it holds control characters"));
        }
        if let Some(path) = url.strip_prefix("file://") {
            let path = path.strip_prefix("localhost").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Local(path.into()))
            } else {
                Err(refuse("file:// needs an absolute path"))
            };
        }
        if let Some((scheme, rest)) = url.split_once("://") {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
            if !is_host(host) || user.is_some_and(|u| !is_user(u)) {
                return Err(refuse("user, host or port is not valid (credentials do not belong in a url)"));
            }
            if path.is_empty() || path.contains(' ') {
                return Err(refuse("it has no path, or one with blanks"));
            }
            return match scheme {
                "http" | "https" => Ok(Self::Http(url.to_owned())),
                "ssh" => Ok(Self::Ssh(url.to_owned())),
                _ => Err(refuse("only paths, file, http, https and ssh are understood")),
            };
        }
        let before_slash = url.split('/').next().unwrap_or(url);
        if let Some((authority, _)) = before_slash.split_once(':') {
            let path = &url[authority.len() + 1..];
            let valid = authority.split_once('@').is_some_and(|(user, host)| is_user(user) && is_name(host));
            if !valid || path.is_empty() || path.starts_with([':', '-']) {
                return Err(refuse("only paths, file, http, https, ssh and user@host:path are understood"));
            }
            return Ok(Self::Ssh(url.to_owned()));
        }
        Ok(Self::Local(root.join(url)))
    }

    /// Returns the protocol git may use for it.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Local(_) => "file",
            Self::Http(url) if url.starts_with("https:") => "https",
            Self::Http(_) => "http",
            Self::Ssh(_) => "ssh",
        }
    }

    /// Returns the argument for git.
    #[must_use]
    pub fn argument(&self) -> std::ffi::OsString {
        match self {
            Self::Local(path) => path.clone().into(),
            Self::Http(url) | Self::Ssh(url) => url.into(),
        }
    }

    /// Returns the path of a repository on this machine.
    #[must_use]
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            _ => None,
        }
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.argument().to_string_lossy())
    }
}

fn is_name(host: &str) -> bool {
    !host.is_empty()
        && !host.starts_with(['-', '.'])
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn is_user(user: &str) -> bool {
    !user.is_empty()
        && !user.starts_with('-')
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
}

fn is_host(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let digits = address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        return !address.is_empty() && digits && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    match text.split_once(':') {
        Some((host, port)) => is_name(host) && is_port(port),
        None => is_name(text),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_helpers_and_odd_schemes_are_refused() {
        for bad in [
            "",
            "-oProxyCommand=x",
            "--upload-pack=x",
            "ext::sh -c x",
            "fd::17",
            "git://h/x",
            "ssh://-oProxy=x/y",
            "ssh://-u@h/y",
            "http://user:pw@h/x",
            "http://h",
            "h:path",
            "u@-h:x",
            "-u@h:x",
            "u@h:-x",
            "u@h:",
            "file://rel",
            "/tmp/a\nb",
            "http://h:99999/x",
            "ssh://h;x/y",
            "transport::http://h/x",
        ] {
            assert!(Remote::parse(bad, Path::new("/r")).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn paths_and_the_known_schemes_are_understood() {
        for (good, protocol) in [
            ("/a/b", "file"),
            ("../x", "file"),
            ("a/b:c", "file"),
            ("file:///a", "file"),
            ("http://127.0.0.1:80/x.git", "http"),
            ("https://h/x", "https"),
            ("ssh://git@h:22/x", "ssh"),
            ("git@h:x/y.git", "ssh"),
            ("ssh://[::1]:22/x", "ssh"),
        ] {
            let remote = Remote::parse(good, Path::new("/r"));
            assert_eq!(remote.ok().map(|r| r.protocol()), Some(protocol), "{good}");
        }
    }
}
