//! Which items of a list are the same item on all sides.

use super::node::{Body, Member};

/// The fields that name an object, best first.
pub(crate) const FIELDS: [&str; 7] = ["id", "key", "name", "uuid", "path", "ref", "$id"];

/// How the items of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// By their value: the list is a set with an order.
    Value,
    /// By one of [`FIELDS`].
    Named(&'static str),
}

/// Returns the first way to tell items apart that is unique on every side.
pub(crate) fn field(sides: &[&[Member<'_>]]) -> Option<Field> {
    std::iter::once(Field::Value).chain(FIELDS.map(Field::Named)).find(|field| {
        sides.iter().all(|items| {
            let mut names = Vec::with_capacity(items.len());
            for item in *items {
                match name(item, Some(*field)) {
                    Some(name) => names.push(name),
                    None => return false,
                }
            }
            names.sort_unstable();
            names.windows(2).all(|pair| pair[0] != pair[1])
        })
    })
}

/// Returns an item's name; `None` when the field does not apply to it.
pub(crate) fn name(item: &Member<'_>, field: Option<Field>) -> Option<String> {
    match (field?, &item.node.body) {
        (Field::Value, Body::Scalar { canon, .. }) => Some(canon.to_string()),
        (Field::Named(wanted), Body::Map(members)) => {
            members.iter().find(|member| member.key == wanted).and_then(|member| match &member.node.body {
                Body::Scalar { canon, .. } => {
                    let shown = canon.split_once(':').map_or(&**canon, |(_, value)| value);
                    Some(format!("{wanted}={shown}"))
                }
                _ => None,
            })
        }
        _ => None,
    }
}
