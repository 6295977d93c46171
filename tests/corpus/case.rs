//! The cases of a corpus, as `reference/casebook.py` writes them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One run of `layerstep diff`, and what it has to say.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) model: PathBuf,
    pub(crate) reference: Option<PathBuf>,
    pub(crate) candidate: Option<PathBuf>,
    pub(crate) ids: Option<Vec<u32>>,
    pub(crate) batch: Option<usize>,
    pub(crate) expect: Expect,
}

/// What is known about the mistake; only the verdicts where there is none.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Expect {
    pub(crate) verdicts: Vec<String>,
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) or: Vec<String>,
    pub(crate) culprit: Option<String>,
    #[serde(default)]
    pub(crate) bug: String,
    #[serde(default)]
    pub(crate) suspect: String,
    /// Suspects that compute the same numbers.
    #[serde(default)]
    pub(crate) fair: Vec<String>,
    /// What one of the notes has to say.
    pub(crate) note: Option<String>,
    /// Its error over the largest clean error of that op.
    pub(crate) ratio: Option<f64>,
    #[serde(default)]
    pub(crate) precision: String,
    #[serde(default)]
    pub(crate) coverage: String,
}

impl Case {
    /// The cases of `corpus.json` in a folder, their paths made whole.
    pub(crate) fn read_all(folder: &Path) -> Vec<Self> {
        let path = folder.join("corpus.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cases: Vec<Self> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let whole = |mut case: Self| {
            case.model = folder.join(&case.model);
            for dump in [&mut case.reference, &mut case.candidate].into_iter().flatten() {
                *dump = folder.join(&*dump);
            }
            case
        };
        cases.into_iter().map(whole).collect()
    }

    /// What to run the program with.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut arguments: Vec<String> = ["--threads", "1", "diff", "--json", "--model"].map(Into::into).to_vec();
        arguments.push(text(&self.model));
        for (role, dump) in [("--reference", &self.reference), ("--candidate", &self.candidate)] {
            arguments.extend(dump.iter().flat_map(|dump| [role.to_string(), text(dump)]));
        }
        if let Some(ids) = &self.ids {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            arguments.extend(["--ids".to_string(), ids.join(",")]);
        }
        arguments.extend(self.batch.iter().flat_map(|batch| ["--batch".to_string(), batch.to_string()]));
        arguments
    }

    /// The mistakes to be named, in the order of the program; empty where there is none.
    pub(crate) fn suspects(&self) -> Vec<&str> {
        self.expect.suspect.split('+').filter(|suspect| !suspect.is_empty()).collect()
    }

    /// Whether naming `id` says what `wanted` says.
    pub(crate) fn is_fair(&self, id: &str, wanted: &str) -> bool {
        id == wanted || self.suspects().contains(&wanted) && self.expect.fair.iter().any(|fair| fair == id)
    }

    /// Whether the mistake is below the noise that comes in: it is located, and need not be told from others.
    pub(crate) fn is_small(&self) -> bool {
        self.name.contains("-small/")
    }

    /// Whether the tokens were fed one after the other.
    pub(crate) fn is_one_by_one(&self) -> bool {
        self.name.contains("-one-by-one/")
    }

    /// The model, as the case's name has it.
    pub(crate) fn model_name(&self) -> &str {
        self.name.split('/').nth(1).unwrap_or_default()
    }
}
