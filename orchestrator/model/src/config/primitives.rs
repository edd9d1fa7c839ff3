//! Reading of plain values, lists and tables.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::problem::{Wrong, printable};
use super::read::{Cx, Seg, describe, is_number};
use super::table::{Reads, Shape};
use super::tree::{Node, Value};

impl Reads for bool {
    const SHAPE: Shape = Shape::Bool;

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        if let Value::Scalar { text, plain: true } = &node.value {
            match &**text {
                "true" | "True" | "TRUE" => return Some(true),
                "false" | "False" | "FALSE" => return Some(false),
                _ => {}
            }
        }
        let meant = node.text().map(str::to_ascii_lowercase).and_then(|text| match text.as_str() {
            "yes" | "y" | "on" | "1" | "true" => Some("true"),
            "no" | "n" | "off" | "0" | "false" => Some("false"),
            _ => None,
        });
        let what = format!("found {}, expected true or false", describe(node));
        cx.report(node, Wrong::new("wrong_type", what).allowed(["true", "false"]).nearest(meant));
        None
    }
}

fn number<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>, expected: &'static str) -> Option<&'t str> {
    match &node.value {
        Value::Scalar { text, plain: true } if is_number(text) => Some(text),
        Value::Scalar { text, plain: false } if is_number(text) => {
            let what = format!("found {}, expected {expected}", describe(node));
            cx.report(node, Wrong::new("wrong_type", what).why("in quotes it is text").hint(text.to_string()));
            None
        }
        _ => {
            cx.wrong_type(node, expected);
            None
        }
    }
}

macro_rules! whole_numbers {
    ($($ty:ty),+) => { $(
        impl Reads for $ty {
            const SHAPE: Shape = Shape::Number("whole number");

            fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
                let text = number(node, cx, "a whole number")?;
                let parsed = text.parse().ok();
                if parsed.is_none() {
                    let what = format!("{} is not a whole number from 0 to {}", printable(text, 40), <$ty>::MAX);
                    cx.report(node, Wrong::new("out_of_range", what).hint(format!("a whole number from 0 to {}", <$ty>::MAX)));
                }
                parsed
            }
        }
    )+ };
}

whole_numbers!(u32, u64);

impl Reads for f64 {
    const SHAPE: Shape = Shape::Number("number");

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        let text = number(node, cx, "a number")?;
        let parsed = text.parse::<f64>().ok().filter(|value| value.is_finite());
        if parsed.is_none() {
            cx.wrong_type(node, "a number");
        }
        parsed
    }
}

impl<T: Reads> Reads for Option<T> {
    const SHAPE: Shape = T::SHAPE;

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        T::read(node, cx).map(Some)
    }
}

impl<T: Reads> Reads for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        match &node.value {
            Value::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let item = cx.tree.node(*item);
                    cx.path.push(Seg::Index(index));
                    values.extend(T::read(item, cx));
                    cx.path.pop();
                }
                Some(values)
            }
            _ if node.is_empty_value() => Some(Vec::new()),
            _ => {
                let what = format!("found {}, expected a list", describe(node));
                let hint = match node.text() {
                    Some(text) => format!("[{}]", printable(text, 60)),
                    None => "begin each item with `- `".to_owned(),
                };
                cx.report(node, Wrong::new("wrong_type", what).hint(hint));
                None
            }
        }
    }
}

impl<K: Reads + Ord, T: Reads> Reads for BTreeMap<K, T> {
    const SHAPE: Shape = Shape::Table(&T::SHAPE);

    fn read<'t>(node: &'t Node<'t>, cx: &mut Cx<'t>) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) && !node.is_empty_value() {
            cx.wrong_type(node, "a section with names of your own");
            return None;
        }
        let mut entries = Vec::new();
        cx.take_entries(node, &mut entries);
        cx.refuse_duplicates(&mut entries);
        let mut values = BTreeMap::new();
        for (name, name_node, value) in entries {
            cx.path.push(Seg::Key(Cow::Owned(printable(name, 60))));
            if let (Some(key), Some(value)) = (K::read(name_node, cx), T::read(value, cx)) {
                values.insert(key, value);
            }
            cx.path.pop();
        }
        Some(values)
    }
}
