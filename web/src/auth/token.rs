//! API tokens: `cth_<scope>_<43 base 62 characters><6 of CRC-32>`, so that scanners find them and a
//! mistyped one never reaches the store.

use cathedral_model::access::{Role, Token};
use cathedral_model::ids::Digest;
use cathedral_model::time::Timestamp;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SECRET: usize = 43;
const CHECK: usize = 6;

/// Makes a token. The text is shown once; only its digest is stored.
pub fn mint(
    scope: Role,
    label: &str,
    actor: &str,
    expires_at: Option<Timestamp>,
    now: Timestamp,
    entropy: &dyn Fn(&mut [u8]),
) -> (String, Token) {
    let body = format!("cth_{}_{}", scope.as_str(), base62::<SECRET>(entropy));
    let text = format!("{body}{}", check(&body));
    let token = Token {
        id: base62::<8>(entropy),
        secret: Digest::of(text.as_bytes()),
        label: label.to_owned(),
        scope,
        created_by: actor.to_owned(),
        created_at: now,
        expires_at,
        used_at: None,
        revoked_at: None,
    };
    (text, token)
}

/// Whether a text can be a token.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let Some((scope, rest)) = text.strip_prefix("cth_").and_then(|rest| rest.split_once('_')) else { return false };
    Role::parse(scope).is_some()
        && rest.len() == SECRET + CHECK
        && is_base62(rest)
        && check(&text[..text.len() - CHECK]) == text[text.len() - CHECK..]
}

fn check(body: &str) -> String {
    let mut sum = crc32fast::hash(body.as_bytes());
    let mut out = [b'0'; CHECK];
    for place in out.iter_mut().rev() {
        *place = DIGITS[(sum % 62) as usize];
        sum /= 62;
    }
    out.map(char::from).iter().collect()
}

/// Random base 62 characters, each equally likely.
pub(crate) fn base62<const N: usize>(entropy: &dyn Fn(&mut [u8])) -> String {
    let mut out = String::with_capacity(N);
    while out.len() < N {
        let mut bytes = [0; 64];
        entropy(&mut bytes);
        let even = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(DIGITS[usize::from(byte % 62)]));
        out.extend(even.take(N - out.len()));
    }
    out
}

pub(crate) fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_from_anything_else() {
        let count = std::cell::Cell::new(0u8);
        let entropy = |into: &mut [u8]| {
            for byte in into {
                count.set(count.get().wrapping_add(37));
                *byte = count.get();
            }
        };
        let (text, token) = mint(Role::Operator, "ci", "admin", None, Timestamp(1), &entropy);
        assert!(text.starts_with("cth_operator_") && text.len() == 13 + 49, "{text}");
        assert!(is_well_formed(&text));
        assert_eq!(token.secret, Digest::of(text.as_bytes()));
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            assert!(!is_well_formed(&String::from_utf8_lossy(&other)), "one wrong character at {at}");
        }
        for bad in ["", "cth_", "cth_viewer_", "cth_root_0", "Bearer", &text[1..], &format!("{text}0")] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
