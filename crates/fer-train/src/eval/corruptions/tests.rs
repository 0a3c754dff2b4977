use super::*;

fn picture(width: usize, height: usize, channels: usize) -> Pixels {
    let value = |i: usize| {
        let (x, y) = (i / channels % width, i / channels / width);
        (128.0
            + 60.0 * (x as f64 / 5.0).sin()
            + 50.0 * (y as f64 / 7.0).cos()
            + (i % channels * 9) as f64) as u8
    };
    Pixels {
        width,
        height,
        channels,
        data: (0..width * height * channels).map(value).collect(),
    }
}

fn apply(corruption: Corruption, severity: Severity, pixels: &Pixels, name: &str) -> Pixels {
    corruption
        .apply(severity, pixels, name)
        .unwrap_or_else(|e| panic!("{corruption} {severity}: {e}"))
}

/// The root of the mean square of the differences.
fn distance(a: &Pixels, b: &Pixels) -> f64 {
    let squares = a
        .data
        .iter()
        .zip(&b.data)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    (squares.sum::<f64>() / a.data.len() as f64).sqrt()
}

#[test]
fn names_are_read_as_they_are_written() {
    let wrong: Vec<_> = Corruption::ALL
        .iter()
        .filter(|c| c.name().parse() != Ok(**c))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let error = "fog".parse::<Corruption>().unwrap_err();
    assert!(
        Corruption::ALL.iter().all(|c| error.contains(c.name())) && error.contains("'fog'"),
        "{error}"
    );
    let selected = |text: &str| text.parse::<Selection>().map(|s| s.0);
    assert_eq!(selected("all"), Ok(Corruption::ALL.to_vec()));
    assert_eq!(
        selected("jpeg, noise,jpeg"),
        Ok(vec![Corruption::Noise, Corruption::Jpeg])
    );
    assert!(selected("").is_err() && selected("noise,").is_err() && selected("Noise").is_err());
}

#[test]
fn every_corruption_keeps_the_form_of_any_image() {
    for (width, height, channels) in [
        (1, 1, 1),
        (1, 1, 3),
        (48, 48, 1),
        (2, 7, 3),
        (5, 1, 1),
        (1, 40, 3),
        (17, 9, 3),
    ] {
        let from = picture(width, height, channels);
        for (corruption, severity) in Corruption::ALL
            .into_iter()
            .flat_map(|c| Severity::ALL.map(|s| (c, s)))
        {
            let to = apply(corruption, severity, &from, "a.png");
            let form = (to.width, to.height, to.channels, to.data.len());
            assert_eq!(
                form,
                (width, height, channels, from.data.len()),
                "{corruption} {severity}"
            );
        }
    }
}

#[test]
fn a_corruption_grows_with_its_severity() {
    let mut wrong = Vec::new();
    for name in ["a.png", "b.png", "c.png", "d.png"] {
        for corruption in Corruption::ALL {
            let from = picture(48, 48, 1);
            let far = Severity::ALL
                .map(|severity| distance(&from, &apply(corruption, severity, &from, name)));
            // What equalization is given at 3 is another image: it need not be farther.
            let grows = far[0] > 0.0
                && far[1] > far[0]
                && (far[2] > far[1] || corruption == Corruption::Equalization);
            if !grows {
                wrong.push(format!("{corruption} of {name}: {far:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_file_name_alone_decides() {
    let drawn = [
        Corruption::Noise,
        Corruption::Brightness,
        Corruption::Gamma,
        Corruption::Crop,
        Corruption::Shift,
        Corruption::Rotation,
    ];
    let from = picture(48, 48, 1);
    for corruption in Corruption::ALL {
        let of = |name: &str| apply(corruption, Severity::Two, &from, name);
        assert_eq!(
            of("test/happy/7.jpg"),
            of("test/happy/7.jpg"),
            "{corruption}"
        );
        assert_eq!(
            of("test/happy/7.jpg"),
            of("sad/7.jpg"),
            "{corruption}: wherever it lies"
        );
        let same = (0..20).all(|i| of(&format!("{i}.jpg")) == of("0.jpg"));
        assert_eq!(same, !drawn.contains(&corruption), "{corruption}");
    }
    // Gray that is stored as RGB is corrupted as gray; JPEG stores it in another way.
    let (gray, rgb) = (from.clone(), from.into_rgb());
    for corruption in Corruption::ALL
        .into_iter()
        .filter(|c| *c != Corruption::Jpeg)
    {
        let [a, b] =
            [&gray, &rgb].map(|pixels| apply(corruption, Severity::Three, pixels, "7.jpg"));
        assert_eq!(a.into_rgb(), b, "{corruption}");
    }
}

/// Cards and other people's figures rely on these very draws. Computed apart from the program:
/// ChaCha8 with the key of the first 8 bytes of the file name's SHA-256, the purpose, its next 8
/// bytes and the corruption, 64 little-endian bits each.
#[test]
fn the_draws_stay_the_same() {
    let even = Pixels {
        width: 6,
        height: 1,
        channels: 1,
        data: vec![128; 6],
    };
    let noise = apply(
        Corruption::Noise,
        Severity::Three,
        &even,
        "test/happy/PublicTest_00000001.jpg",
    );
    let lighter: Vec<u8> = (0..8)
        .map(|i| {
            apply(
                Corruption::Brightness,
                Severity::One,
                &even,
                &format!("PublicTest_{i}.jpg"),
            )
            .data[0]
        })
        .collect();
    assert_eq!(noise.data, [150, 154, 133, 85, 110, 130]);
    assert_eq!(lighter, [98, 158, 158, 98, 158, 98, 98, 98]);
}

/// Both signs and all directions occur about as often, over the names of a data set.
#[test]
fn signs_and_directions_are_spread() {
    let mut spot = Pixels {
        width: 48,
        height: 48,
        channels: 1,
        data: vec![0; 48 * 48],
    };
    spot.data[24 * 48 + 24] = 255;
    let mut places = std::collections::BTreeMap::new();
    for i in 0..800 {
        let to = apply(
            Corruption::Shift,
            Severity::One,
            &spot,
            &format!("PublicTest_{i:08}.jpg"),
        );
        *places
            .entry(to.data.iter().position(|v| *v == 255))
            .or_insert(0) += 1;
    }
    let expected = [21, 24, 27]
        .map(|y| [21, 24, 27].map(|x| Some(y * 48 + x)))
        .concat();
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|place| *place != Some(24 * 48 + 24))
        .collect();
    assert_eq!(places.keys().copied().collect::<Vec<_>>(), expected);
    assert!(
        places.values().all(|count| (65..=135).contains(count)),
        "{places:?}"
    );
}

#[test]
fn conditions_begin_with_the_images_as_they_are() {
    let gamma = |severity| Condition::Corrupted(Corruption::Gamma, severity);
    let expected = [
        Condition::Clean,
        gamma(Severity::One),
        gamma(Severity::Two),
        gamma(Severity::Three),
    ];
    assert_eq!(Condition::all(&[Corruption::Gamma]), expected);
    assert_eq!(Condition::all(&Corruption::ALL).len(), 34);
}
