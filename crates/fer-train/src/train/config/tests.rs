use super::*;

#[test]
fn presets_survive_the_way_through_toml() {
    for (name, _) in PRESETS {
        let config = Config::preset(name).unwrap();
        let text = config.to_toml().unwrap();
        assert_eq!(Config::parse(&text, "text").unwrap(), config, "{name}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let base = PRESETS[2].1;
    let rows = [
        ("epochs = 0", "epochs must be"),
        ("batch_size = 0", "batch_size must be"),
        ("dropout = 1.0", "dropout must be"),
        ("ema = -0.1", "ema must be"),
        ("input.size = 7", "input.size must be"),
        ("input.size = [48, 513]", "input.size must be"),
        ("input.size = '48'", "size can be a number"),
        ("input.channels = 2", "input.channels must be"),
        ("input.resize = 'cubic'", "unknown variant `cubic`"),
        ("input.width = 48", "unknown field `width`"),
        ("epoch = 3", "unknown field `epoch`"),
        ("architecture = 'resnet'", "unknown variant `resnet`"),
        ("loss.label_smoothing = 1.5", "loss.label_smoothing must be"),
        ("loss.class_weights = [1, 2]", "seven numbers"),
        ("loss.teachers_share = 1.1", "loss.teachers_share must be"),
        ("loss.votes_share = -0.1", "loss.votes_share must be"),
        ("loss.votes = 1", "expected path"),
        ("loss.class_weights = 'equal'", "class_weights"),
        (
            "optimizer.learning_rate = 0.0",
            "optimizer.learning_rate must be",
        ),
        ("optimizer.sam = -0.05", "optimizer.sam must be"),
        ("optimizer.sam = 10.5", "optimizer.sam must be"),
        ("optimizer.sam = nan", "optimizer.sam must be"),
        ("optimizer.sam = true", "invalid type: boolean"),
        ("augment.flip = 2.0", "augment.flip"),
        ("augment.jpeg = 75", "augment.jpeg is 75"),
        (
            "augment.scale = [1.25, 0.9]",
            "augment.scale is [1.25, 0.9]",
        ),
        ("augment.scale = 1.25", "array of length 2"),
        ("epochs = ", ":"),
    ];
    let mut wrong = Vec::new();
    for (change, expected) in rows {
        let mut table: toml::Table = base.parse().unwrap();
        let text = match change.parse::<toml::Table>() {
            Ok(change) => {
                merge(&mut table, change);
                toml::to_string(&table).unwrap()
            }
            Err(_) => format!("{change}\n{base}"),
        };
        match Config::parse(&text, "it") {
            Ok(_) => wrong.push(format!("{change}: taken")),
            Err(e) if e.0.contains(expected) && e.0.starts_with("it") && !e.0.contains('\n') => {}
            Err(e) => wrong.push(format!("{change}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn merge(table: &mut toml::Table, change: toml::Table) {
    for (key, value) in change {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

#[test]
fn balanced_classes_weigh_the_same() {
    let labels = [0, 0, 0, 0, 1, 1, 2];
    let factors = ClassWeights::Named(Named::Balanced).factors(&labels, 7);
    assert_eq!(factors[..3], [0.25, 0.5, 1.0]);
}
