//! The project's papers: README and its like, and `docs/`. Each of their blocks of commands is run by a test.
//!
//! A block that no test can run has a mark behind its language: `sh aws` needs an account of AWS, `sh once` changes the machine.

use std::fs;
use std::path::PathBuf;

/// A paper.
#[derive(Debug)]
pub struct Paper {
    /// Its path from the project's root.
    pub name: String,
    text: String,
}

/// A block of a paper, between fences.
#[derive(Debug)]
pub struct Block<'a> {
    /// What stands behind the fence: the language, and perhaps a mark.
    pub info: &'a str,
    /// What is in it.
    pub text: String,
}

/// The blocks of commands of a paper that a test has to run, in their order. Panics if there is another number of them: a test
/// that takes them has to say of each what becomes of it.
pub fn commands<const N: usize>(name: &str) -> [String; N] {
    let paper = Paper::read(name);
    let commands = paper.blocks().into_iter().filter(|it| it.info == "sh");
    let commands: Vec<String> = commands.map(|block| block.text).collect();
    let count = commands.len();
    commands
        .try_into()
        .unwrap_or_else(|_| panic!("{name} has {count} blocks of commands, and not {N}"))
}

/// The only block of a paper in this language.
pub fn program(name: &str, language: &str) -> String {
    let paper = Paper::read(name);
    let blocks = paper.blocks().into_iter();
    let mut found: Vec<_> = blocks.filter(|it| it.info == language).collect();
    assert_eq!(found.len(), 1, "{name} has another number of {language}");
    found.remove(0).text
}

impl Paper {
    fn read(name: &str) -> Self {
        let path = root().join(name);
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            name: name.to_owned(),
            text,
        }
    }

    /// Every paper.
    pub fn all() -> Vec<Self> {
        let mut names = Vec::new();
        for folder in ["", "docs"] {
            for entry in fs::read_dir(root().join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".md") {
                    let separator = if folder.is_empty() { "" } else { "/" };
                    names.push(format!("{folder}{separator}{name}"));
                }
            }
        }
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// Its blocks, in their order.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if let Some(info) = line.trim_start().strip_prefix("```") {
                let within = lines.by_ref();
                let within = within.take_while(|line| !line.trim_start().starts_with("```"));
                let text = within.map(|line| format!("{line}\n")).collect();
                blocks.push(Block { info, text });
            }
        }
        blocks
    }

    /// Where its links lead within the project, as they are written.
    pub fn links(&self) -> Vec<&str> {
        let targets = self.text.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split_once(')'));
        let targets = targets.map(|(target, _)| target);
        targets.filter(|it| !it.contains("://")).collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    pub fn anchors(&self) -> Vec<String> {
        // A comment of a command is no heading.
        let outside = self.text.split("```").step_by(2);
        let headings = outside
            .flat_map(str::lines)
            .filter(|line| line.starts_with('#'));
        headings
            .map(|heading| {
                let heading = heading.trim_start_matches('#').trim().to_lowercase();
                let kept = heading.chars();
                let kept = kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
                kept.collect::<String>().replace(' ', "-")
            })
            .collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Papers whose blocks a test runs, all of them, since it says how many there are: in `infra/local/tests/run/papers.rs` or
    /// `infra/publish/tests/command.rs`.
    const RUN: [&str; 9] = [
        "README.md",
        "docs/api.md",
        "docs/codescoring.md",
        "docs/jenkins.md",
        "docs/publishing.md",
        "docs/receivers.md",
        "docs/sonarqube-clients.md",
        "docs/sonarqube.md",
        "docs/sources.md",
    ];
    /// What is no command.
    const OTHERS: [&str; 8] = [
        "groovy", "hcl", "js", "json", "python", "rust", "text", "yaml",
    ];

    #[test]
    fn each_block_of_commands_is_run_or_says_why_it_is_not() {
        let mut with_commands = Vec::new();
        for paper in Paper::all() {
            for block in paper.blocks() {
                match block.info {
                    "sh aws" | "sh once" => {}
                    "sh" => {
                        let is_run = RUN.contains(&paper.name.as_str());
                        assert!(
                            is_run,
                            "nothing runs this of {}:\n{}",
                            paper.name, block.text
                        );
                        with_commands.push(paper.name.clone());
                    }
                    other => assert!(
                        OTHERS.contains(&other),
                        "{}: '{other}' is no language of a block; commands are sh, sh aws or sh once",
                        paper.name
                    ),
                }
            }
        }
        with_commands.dedup();
        assert_eq!(with_commands, RUN, "these have commands to be run");
    }

    #[test]
    fn links_lead_somewhere() {
        let papers = Paper::all();
        let mut count = 0;
        for paper in &papers {
            let folder = paper.name.rsplit_once('/').map_or("", |(folder, _)| folder);
            for link in paper.links() {
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = match path {
                    "" => paper.name.clone(),
                    path => {
                        let joined = format!("{folder}/{path}");
                        let joined = joined.trim_start_matches('/');
                        joined.replace("docs/../", "")
                    }
                };
                let exists = root().join(&target).exists();
                assert!(exists, "{}: {link} leads nowhere", paper.name);
                let of_target = papers.iter().find(|it| it.name == target);
                let anchors = of_target.map(Paper::anchors).unwrap_or_default();
                let has_anchor = anchor.is_empty() || anchors.iter().any(|it| it == anchor);
                assert!(has_anchor, "{}: {link} leads to no heading", paper.name);
                count += 1;
            }
        }
        assert!(count > 50, "there are more than {count} links");
    }

    #[test]
    fn a_block_ends_with_its_fence_and_has_its_mark() {
        let paper = Paper {
            name: "a.md".to_owned(),
            text: "# A heading, `with` code!\n```sh\n# none\nls\n```\ntext [b](c.md#d)\n  ```sh aws\n  aws\n  ```\n".to_owned(),
        };
        let blocks = paper.blocks();
        let blocks: Vec<_> = blocks
            .iter()
            .map(|it| (it.info, it.text.as_str()))
            .collect();
        assert_eq!(blocks, [("sh", "# none\nls\n"), ("sh aws", "  aws\n")]);
        assert_eq!(paper.links(), ["c.md#d"]);
        assert_eq!(paper.anchors(), ["a-heading-with-code"]);
    }
}
