use super::*;

fn node(number: u8) -> SurveyedNode {
    let settings = [
        ("auto_bootstrap", "true"),
        ("cluster_name", "bank"),
        ("endpoint_snitch", "SimpleSnitch"),
        ("paxos_variant", "v2"),
        ("num_tokens", "16"),
        ("commitlog_sync", "group"),
    ];
    SurveyedNode {
        address: format!("127.0.0.{number}"),
        host_id: format!("{number}"),
        state: NodeState::Normal,
        member: true,
        lacks: None,
        answers: true,
        schema: Some("s".into()),
        clock_apart_ms: Some(1),
        settings: settings
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
    }
}

fn three() -> Survey {
    Survey {
        cluster: "main".into(),
        nodes: (1..=3).map(node).collect(),
        keyspaces: vec!["lombard_a".into()],
        recorded: true,
    }
}

fn fourth(settings: &[(&str, &str)], seeds: &[&str]) -> NewNode {
    let mut all: BTreeMap<String, String> = [
        ("cluster_name", "bank"),
        ("listen_address", "127.0.0.4"),
        (
            "endpoint_snitch",
            "org.apache.cassandra.locator.SimpleSnitch",
        ),
        ("paxos_variant", "v2"),
        ("commitlog_sync", "group"),
        ("commitlog_segment_size", "32MiB"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    all.extend(
        settings
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into())),
    );
    NewNode {
        settings: all,
        seeds: seeds.iter().map(|seed| (*seed).to_owned()).collect(),
    }
}

fn one(new_node: NewNode) -> Wish {
    Wish {
        add: 1,
        at_once: 1,
        new_node: Some(new_node),
    }
}

fn reasons(plan: &Plan) -> Vec<&'static str> {
    plan.refusals.iter().map(|refusal| refusal.reason).collect()
}

#[test]
fn a_sound_cluster_grows_one_by_one() {
    let wish = Wish {
        add: 3,
        ..one(fourth(&[], &["127.0.0.1:7000"]))
    };
    let plan = plan(&three(), &wish);
    assert_eq!(plan.refusals, []);
    assert_eq!(plan.warnings, Vec::<String>::new());
    assert_eq!(plan.steps.len(), 8);
    assert!(plan.steps[7].contains("cleanup` on 127.0.0.1, 127.0.0.2, 127.0.0.3"));
}

#[test]
fn what_lets_a_node_join_without_its_data_is_refused() {
    type Case = (
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
        &'static str,
    );
    let cases: [Case; 7] = [
        (
            &[("auto_bootstrap", "false")],
            &["127.0.0.1"],
            "AUTO_BOOTSTRAP_OFF",
        ),
        (&[], &["127.0.0.1", "127.0.0.4"], "ITS_OWN_SEED"),
        (&[], &["10.0.0.1"], "NO_SEED_OF_THE_CLUSTER"),
        (&[], &[], "NO_SEED_OF_THE_CLUSTER"),
        (
            &[("cluster_name", "other")],
            &["127.0.0.1"],
            "SETTING_DIFFERS",
        ),
        (
            &[("paxos_variant", "v1")],
            &["127.0.0.1"],
            "SETTING_DIFFERS",
        ),
        (
            &[("commitlog_segment_size", "8MiB")],
            &["127.0.0.1"],
            "SETTING_DIFFERS",
        ),
    ];
    for (settings, seeds, reason) in cases {
        let plan = plan(&three(), &one(fourth(settings, seeds)));
        assert_eq!(reasons(&plan), [reason], "{settings:?} {seeds:?}");
        assert!(plan.steps.is_empty());
    }
    let wish = Wish {
        add: 3,
        at_once: 3,
        new_node: Some(fourth(&[], &["127.0.0.1"])),
    };
    assert_eq!(reasons(&plan(&three(), &wish)), ["MORE_THAN_ONE_AT_ONCE"]);
}

#[test]
fn a_setting_that_was_not_shown_is_taken_from_the_nodes() {
    let wish = Wish {
        add: 1,
        at_once: 1,
        new_node: None,
    };
    let sound = plan(&three(), &wish);
    assert_eq!((sound.refusals.len(), sound.warnings.len()), (0, 1));
    let mut survey = three();
    let settings = &mut survey.nodes[1].settings;
    settings.insert("auto_bootstrap".into(), "false".into());
    assert_eq!(reasons(&plan(&survey, &wish)), ["AUTO_BOOTSTRAP_OFF"]);
}

#[test]
fn a_cluster_that_is_not_sound_is_left_alone() {
    type Spoil = (fn(&mut SurveyedNode), &'static str);
    let spoils: [Spoil; 6] = [
        (
            |node| node.lacks = Some("it never fetched a".into()),
            "NODE_WITHOUT_ITS_DATA",
        ),
        (|node| node.state = NodeState::Joining, "RING_IS_CHANGING"),
        (|node| node.state = NodeState::Leaving, "RING_IS_CHANGING"),
        (|node| node.answers = false, "NODE_DOWN"),
        (
            |node| node.schema = Some("other".into()),
            "SCHEMA_DISAGREES",
        ),
        (|node| node.clock_apart_ms = Some(900), "CLOCKS_APART"),
    ];
    for (spoil, reason) in spoils {
        let mut survey = three();
        spoil(&mut survey.nodes[2]);
        let plan = plan(&survey, &one(fourth(&[], &["127.0.0.1"])));
        assert_eq!(reasons(&plan), [reason]);
        let cleanup = refuse_cleanup(&survey);
        assert_eq!(cleanup.len(), 1, "{reason}");
    }
    assert_eq!(refuse_cleanup(&three()), []);
    let unrecorded = Survey {
        recorded: false,
        ..three()
    };
    assert_eq!(refuse_cleanup(&unrecorded)[0].reason, "NOTHING_ON_RECORD");
    // Who has left is of no account.
    let mut survey = three();
    survey.nodes[2].state = NodeState::Gone;
    survey.nodes[2].answers = false;
    assert_eq!(refuse_cleanup(&survey), []);
}
