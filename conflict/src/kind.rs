//! How an item is read: by its path first, then by its contents.

use serde::Serialize;

/// The format of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// JSON.
    Json,
    /// JSON with comments and trailing commas.
    Jsonc,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
    /// `.gitmodules`.
    Gitmodules,
    /// Git configuration and INI.
    Ini,
    /// A lock file: derived data.
    Lock,
    /// One entry a line, order without meaning: ignore files, `go.sum`.
    Lines,
    /// A shared state document that the configuration declares as such; its file form is JSON.
    Document,
    /// Any other text.
    Text,
    /// Anything else; never merged.
    Binary,
}

/// The grammar behind a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// Strict JSON.
    Json,
    /// JSON with comments and trailing commas.
    Jsonc,
    /// TOML 1.
    Toml,
    /// The block subset of YAML.
    Yaml,
    /// Git configuration.
    GitConfig,
    /// INI.
    Ini,
}

impl Kind {
    /// Returns the kind of the item at `path` with the contents `bytes`.
    pub fn detect(path: &str, bytes: &[u8]) -> Kind {
        if !looks_like_text(bytes) {
            return Kind::Binary;
        }
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path).to_ascii_lowercase();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match name.as_str() {
            "cargo.lock"
            | "package-lock.json"
            | "npm-shrinkwrap.json"
            | "yarn.lock"
            | "pnpm-lock.yaml"
            | "composer.lock"
            | "gemfile.lock"
            | "poetry.lock"
            | "uv.lock"
            | "pipfile.lock"
            | "flake.lock" => Kind::Lock,
            ".gitmodules" => Kind::Gitmodules,
            ".gitconfig" | ".editorconfig" | "setup.cfg" | ".hgrc" => Kind::Ini,
            "go.sum" | ".gitignore" | ".dockerignore" | ".npmignore" | ".ignore" => Kind::Lines,
            "tsconfig.json" | "jsconfig.json" | ".eslintrc.json" | "devcontainer.json" => Kind::Jsonc,
            ".prettierrc" | ".babelrc" | ".eslintrc" if starts_with_brace(bytes) => Kind::Jsonc,
            _ => match extension {
                "json" | "webmanifest" | "geojson" | "ipynb" => Kind::Json,
                "jsonc" | "json5" | "code-workspace" => Kind::Jsonc,
                "toml" => Kind::Toml,
                "yaml" | "yml" => Kind::Yaml,
                "ini" | "cfg" => Kind::Ini,
                _ => Kind::Text,
            },
        }
    }

    /// Returns the grammar of an item of this kind at `path`, if it is merged by key.
    pub fn syntax(self, path: &str) -> Option<Syntax> {
        match self {
            Kind::Json | Kind::Document => Some(Syntax::Json),
            Kind::Jsonc => Some(Syntax::Jsonc),
            Kind::Toml => Some(Syntax::Toml),
            Kind::Yaml => Some(Syntax::Yaml),
            Kind::Gitmodules => Some(Syntax::GitConfig),
            Kind::Ini => Some(Syntax::Ini),
            Kind::Lock => {
                let name = path.rsplit(['/', '\\']).next().unwrap_or(path).to_ascii_lowercase();
                match name.as_str() {
                    "cargo.lock" | "poetry.lock" | "uv.lock" => Some(Syntax::Toml),
                    "package-lock.json" | "npm-shrinkwrap.json" | "composer.lock" | "pipfile.lock" | "flake.lock" => {
                        Some(Syntax::Json)
                    }
                    "pnpm-lock.yaml" => Some(Syntax::Yaml),
                    _ => None,
                }
            }
            Kind::Lines | Kind::Text | Kind::Binary => None,
        }
    }
}

/// Says whether blanks carry meaning in the item at `path`, so that "only blanks differ" is no agreement.
pub(crate) fn whitespace_has_meaning(kind: Kind, path: &str) -> bool {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path).to_ascii_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    !matches!(kind, Kind::Text)
        || matches!(
            extension,
            "py" | "pyi"
                | "md"
                | "markdown"
                | "mk"
                | "rst"
                | "haml"
                | "sass"
                | "pug"
                | "coffee"
                | "nim"
                | "diff"
                | "patch"
                | "tsv"
                | "csv"
                | "txt"
                | "fs"
                | "hs"
                | "adoc"
        )
        || name.contains("makefile")
        || !name.contains('.')
}

fn starts_with_brace(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

fn looks_like_text(bytes: &[u8]) -> bool {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return crate::text::form::decode_utf16(bytes).is_some();
    }
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_kind_and_the_contents_may_refuse_it() {
        for (path, bytes, kind) in [
            ("a/package.json", &b"{}"[..], Kind::Json),
            ("tsconfig.json", b"{}", Kind::Jsonc),
            ("Cargo.lock", b"", Kind::Lock),
            ("x/.gitmodules", b"", Kind::Gitmodules),
            (".github/workflows/ci.yml", b"on: push\n", Kind::Yaml),
            ("Cargo.toml", b"", Kind::Toml),
            (".gitignore", b"target\n", Kind::Lines),
            ("README.md", b"# x\n", Kind::Text),
            ("a.json", b"{\0}", Kind::Binary),
            ("a.txt", b"\xff\xfea\0b\0", Kind::Text),
            ("a.txt", b"\xff\xfea\0b", Kind::Binary),
            ("a.txt", b"caf\xe9", Kind::Binary),
        ] {
            assert_eq!(Kind::detect(path, bytes), kind, "{path}");
        }
    }
}
