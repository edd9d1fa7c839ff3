//! Places that hold objects.

pub mod local;

pub use local::LocalDestination;

/// Checks an object's name: relative, parts of `[A-Za-z0-9._+-]`, none that begins with a dot.
pub fn check_object(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 1024 {
        return Err("an object's name has 1 to 1024 characters");
    }
    for part in name.split('/') {
        if part.is_empty() || part.starts_with('.') || part.len() > 255 {
            return Err("a part of an object's name is empty, too long or begins with a dot");
        }
        if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-')) {
            return Err("an object's name has a character besides letters, digits, '.', '_', '+' and '-'");
        }
    }
    Ok(())
}
