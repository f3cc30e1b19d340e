//! The structure of a document, for people who cannot see it: headings, lists, tables and links.
//!
//! krilla gives an identifier for content when it is drawn. But drawn content belongs to a tree that is made before, and a
//! table's cell may be drawn on two pages. So layout makes the tree with slots in it, drawing puts identifiers into the
//! slots, and then the tree becomes krilla's.

use krilla::tagging::{Identifier, Node, TagGroup, TagKind, TagTree};

/// A node of the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(usize);

/// A place in the tree for content that is drawn later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

#[derive(Debug)]
enum Child {
    Group(Group),
    Slot(Slot),
}

/// The tree under construction.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// The nodes right below the document.
    roots: Vec<Group>,
    groups: Vec<(TagKind, Vec<Child>)>,
    slots: Vec<Vec<Identifier>>,
}

impl Tags {
    /// Adds a group below another, or below the document.
    pub(crate) fn group(&mut self, parent: Option<Group>, kind: impl Into<TagKind>) -> Group {
        let group = Group(self.groups.len());
        self.groups.push((kind.into(), Vec::new()));
        match parent {
            Some(parent) => self.push(parent, Child::Group(group)),
            None => self.roots.push(group),
        }
        group
    }

    /// Adds a place for content below a group.
    pub(crate) fn slot(&mut self, parent: Group) -> Slot {
        let slot = Slot(self.slots.len());
        self.slots.push(Vec::new());
        self.push(parent, Child::Slot(slot));
        slot
    }

    /// Puts drawn content in its place.
    pub(crate) fn fill(&mut self, slot: Slot, identifier: Identifier) {
        if let Some(identifiers) = self.slots.get_mut(slot.0) {
            identifiers.push(identifier);
        }
    }

    /// The tree in krilla's form.
    pub(crate) fn finish(mut self, language: &str) -> TagTree {
        let mut tree = TagTree::new().with_lang(Some(language.to_owned()));
        for root in std::mem::take(&mut self.roots) {
            if let Some(node) = self.node(root) {
                tree.push(node);
            }
        }
        tree
    }

    fn push(&mut self, parent: Group, child: Child) {
        if let Some((_, children)) = self.groups.get_mut(parent.0) {
            children.push(child);
        }
    }

    /// A group with everything below it; `None` if nothing of it was drawn. The recursion is as deep as tags are nested,
    /// which this crate decides, not data.
    fn node(&mut self, group: Group) -> Option<TagGroup> {
        let (kind, children) = self.groups.get_mut(group.0)?;
        let (kind, children) = (kind.clone(), std::mem::take(children));
        let mut nodes = Vec::with_capacity(children.len());
        for child in children {
            match child {
                Child::Group(group) => nodes.extend(self.node(group).map(Node::Group)),
                Child::Slot(slot) => nodes.extend(
                    self.slots
                        .get_mut(slot.0)
                        .map(std::mem::take)
                        .unwrap_or_default()
                        .into_iter()
                        .map(Node::Leaf),
                ),
            }
        }
        // An empty cell still counts: without it, a row would have fewer cells than there are columns.
        let keep = !nodes.is_empty() || matches!(kind, TagKind::TD(_) | TagKind::TH(_));
        keep.then(|| TagGroup::with_children(kind, nodes))
    }
}
