use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    entries_per_batch_max: u32,
    name: String,
    tags: Vec<String>,
    nested: Nested,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            entries_per_batch_max: 8_192,
            name: "default".to_owned(),
            tags: Vec::new(),
            nested: Nested::default(),
        }
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nested {
    depth: u8,
}

struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lombard-config-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn load(
    file: Option<&File>,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    Config::load(
        file.map(|file| file.0.as_path()),
        pairs(environment),
        pairs(flags),
    )
}

#[test]
fn the_later_source_wins_and_defaults_fill_the_rest() {
    let file = File::new(
        "order",
        "[ledger]\nentries_per_batch_max = 1\nname = \"file\"\ntags = [\"a\"]\n",
    );
    let config = load(
        Some(&file),
        &[
            ("LOMBARD_LEDGER__NAME", "variable"),
            ("LOMBARD_LEDGER__ENTRIES_PER_BATCH_MAX", "2"),
            ("LOMBARD_LEDGER__NESTED__DEPTH", "7"),
            ("LOMBARD_DATA", "not configuration"),
            ("PATH", "/bin"),
        ],
        &[("ledger.entries_per_batch_max", "3")],
    )
    .unwrap();
    let options: Options = config.section("ledger").unwrap();
    assert_eq!(
        options,
        Options {
            entries_per_batch_max: 3,
            name: "variable".to_owned(),
            tags: vec!["a".to_owned()],
            nested: Nested { depth: 7 },
        }
    );
    config.finish().unwrap();
    assert_eq!(
        config.section::<Options>("elsewhere").unwrap(),
        Options::default()
    );
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let file = File::new(
        "unknown",
        "# a comment\n[server]\nx = 1\n\n[ledger]\nname = \"n\"\nentries_per_bach_max = 1\n",
    );
    let config = load(Some(&file), &[], &[]).unwrap();
    let error = config.section::<Options>("ledger").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}, line 7: unknown key \"ledger.entries_per_bach_max\"; did you mean \"entries_per_batch_max\"?",
            file.0.display()
        )
    );

    let config = load(None, &[("LOMBARD_LEDGER__NESTED__DEPHT", "1")], &[]).unwrap();
    let error = config.section::<Options>("ledger").unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable LOMBARD_LEDGER__NESTED__DEPHT: unknown key \"ledger.nested.depht\"; did you mean \"depth\"?"
    );

    let config = load(None, &[], &[("ledger.colour", "red")]).unwrap();
    let error = config.section::<Options>("ledger").unwrap_err();
    assert_eq!(
        error.to_string(),
        "flag ledger.colour: unknown key \"ledger.colour\""
    );
}

#[test]
fn an_unknown_section_or_variable_is_named_too() {
    let file = File::new("section", "[ledgre]\nname = \"n\"\n");
    let config = load(Some(&file), &[], &[]).unwrap();
    config.section::<Options>("ledger").unwrap();
    config.know("account");
    let error = config.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}, line 1: unknown section \"ledgre\"; did you mean \"ledger\"?",
            file.0.display()
        )
    );

    let error = load(None, &[("LOMBARD_DTAA", "x")], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable LOMBARD_DTAA: unknown variable \"LOMBARD_DTAA\"; did you mean \"LOMBARD_DATA\"?"
    );
}

#[test]
fn a_value_that_does_not_fit_says_where_it_stands() {
    let config = load(
        None,
        &[("LOMBARD_LEDGER__ENTRIES_PER_BATCH_MAX", "many")],
        &[],
    )
    .unwrap();
    let error = config.section::<Options>("ledger").unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "environment variable LOMBARD_LEDGER__ENTRIES_PER_BATCH_MAX: ledger.entries_per_batch_max: invalid type: string \"many\""
        ),
        "{text}"
    );
    assert!(matches!(
        load(None, &[], &[("lonely", "1")]),
        Err(ConfigError::BadValue { .. })
    ));
    assert!(matches!(
        load(None, &[], &[("a.b", "1"), ("a.b.c", "1")]),
        Err(ConfigError::BadValue { .. })
    ));
    let broken = File::new("broken", "[ledger\n");
    assert!(matches!(
        load(Some(&broken), &[], &[]),
        Err(ConfigError::NotToml { .. })
    ));
    let missing = Config::load(Some(Path::new("/no/such.toml")), [], []).unwrap_err();
    assert!(
        missing.to_string().starts_with("/no/such.toml: "),
        "{missing}"
    );
}
