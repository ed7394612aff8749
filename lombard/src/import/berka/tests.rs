use super::*;

fn read(text: &str) -> Transaction {
    match parse_line(2, text.as_bytes()).unwrap() {
        Line::Transaction(transaction) => transaction,
        Line::Nothing => panic!("no transaction in {text}"),
    }
}

fn reason(text: &str) -> String {
    parse_line(7, text.as_bytes()).unwrap_err().reason
}

#[test]
fn each_operation_finds_its_counter_account_and_its_words() {
    let table = [
        (
            r#"1;9;930101;"PRIJEM";"VKLAD";700.00;700.00;"";;"#,
            70_000,
            "bank-cash",
            "Cash deposit",
        ),
        (
            r#"1;9;930101;"VYDAJ";"VYBER";1.5;0.0;"";"";"#,
            -150,
            "bank-cash",
            "Cash withdrawal",
        ),
        (
            r#"1;9;930101;"VYBER";"VYBER";3;-3.00;" ";;"#,
            -300,
            "bank-cash",
            "Cash withdrawal",
        ),
        (
            r#"1;9;930101;"VYBER";"VYBER KARTOU";3.00;0.00;"";;"#,
            -300,
            "bank-cash",
            "Cash withdrawal by card",
        ),
        (
            r#"1;9;930101;"PRIJEM";"PREVOD Z UCTU";3.00;0.00;"DUCHOD";"QR";41"#,
            300,
            "bank-interbank:QR",
            "Transfer from bank QR account 41, pension",
        ),
        (
            r#"1;9;930101;"VYDAJ";"PREVOD NA UCET";3.00;0.00;"SIPO";"EF";77"#,
            -300,
            "bank-interbank:EF",
            "Transfer to bank EF account 77, household",
        ),
        (
            r#"1;9;930101;"VYDAJ";"PREVOD NA UCET";3.00;0.00;"UVER";;"#,
            -300,
            "bank-interbank:unnamed",
            "Transfer to another bank, loan payment",
        ),
        (
            r#"1;9;930101;"PRIJEM";"";3.10;0.00;"UROK";;"#,
            310,
            "bank-interest",
            "Interest credited",
        ),
        (
            r#"1;9;930101;"VYDAJ";"VYBER";0.05;0.00;"SANKC. UROK";;"#,
            -5,
            "bank-penalty-interest",
            "Penalty interest",
        ),
        (
            r#"1;9;930101;"VYDAJ";"VYBER";14.60;0.00;"SLUZBY";;"#,
            -1_460,
            "bank-fees",
            "Statement fee",
        ),
        (
            r#"1;9;930101;"VYDAJ";"";14.60;0.00;"";;"#,
            -1_460,
            "bank-sundry",
            "Booked by the bank",
        ),
    ];
    for (text, signed, counter, reference) in table {
        let transaction = read(text);
        assert_eq!(transaction.signed_minor(), signed, "{text}");
        assert_eq!(transaction.counter_account().0, counter, "{text}");
        assert_eq!(transaction.reference(), reference, "{text}");
        assert_eq!(transaction.customer_account(), "berka-9");
    }
}

#[test]
fn a_line_is_read_whole() {
    let transaction = read(
        "695247;2378;930131;\"VYDAJ\";\"PREVOD NA UCET\";7033.20;-12.05;\"POJISTNE\";\"AB\";87144583\r",
    );
    assert_eq!(
        transaction,
        Transaction {
            line: 2,
            trans_id: 695_247,
            account_id: 2_378,
            date: Date::constant(1993, 1, 31),
            direction: Direction::Out,
            operation: Operation::TransferOut,
            amount_minor: 703_320,
            balance_minor: -1_205,
            purpose: Some(Purpose::Insurance),
            bank: Some("AB".to_owned()),
            account: Some(87_144_583),
        }
    );
}

#[test]
fn headings_and_empty_lines_are_nothing() {
    let heading = r#""trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account""#;
    assert_eq!(parse_line(1, heading.as_bytes()), Ok(Line::Nothing));
    assert_eq!(parse_line(2, b"\r"), Ok(Line::Nothing));
    // Elsewhere in the file a heading is no line of it.
    assert!(parse_line(2, heading.as_bytes()).is_err());
}

#[test]
fn a_broken_line_says_what_is_wrong() {
    let table = [
        ("1;2;3", "has 3 columns"),
        (
            r#"x;9;930101;"PRIJEM";"VKLAD";700.00;700.00;"";;"#,
            "trans_id: `x`",
        ),
        (
            r#"1;-9;930101;"PRIJEM";"VKLAD";700.00;700.00;"";;"#,
            "account_id: `-9`",
        ),
        (
            r#"1;9;930231;"PRIJEM";"VKLAD";700.00;700.00;"";;"#,
            "date: `930231`",
        ),
        (
            r#"1;9;19930101;"PRIJEM";"VKLAD";700.00;700.00;"";;"#,
            "date: `19930101`",
        ),
        (
            r#"1;9;9301é;"PRIJEM";"VKLAD";700.00;700.00;"";;"#,
            "date: `9301é`",
        ),
        (
            r#"1;9;930101;"PRIJMY";"VKLAD";700.00;700.00;"";;"#,
            "type: `PRIJMY`",
        ),
        (
            r#"1;9;930101;"PRIJEM";"VKLADY";700.00;700.00;"";;"#,
            "operation: `VKLADY`",
        ),
        (
            r#"1;9;930101;"PRIJEM";"VKLAD";700.005;700.00;"";;"#,
            "amount: `700.005`",
        ),
        (
            r#"1;9;930101;"PRIJEM";"VKLAD";7e2;700.00;"";;"#,
            "amount: `7e2`",
        ),
        (
            r#"1;9;930101;"PRIJEM";"VKLAD";-7.00;700.00;"";;"#,
            "is negative",
        ),
        (
            r#"1;9;930101;"PRIJEM";"VKLAD";99999999999999999999;700.00;"";;"#,
            "too large",
        ),
        (r#"1;9;930101;"PRIJEM";"VKLAD";7.00;;"";;"#, "balance: ``"),
        (
            r#"1;9;930101;"PRIJEM";"VKLAD";7.00;7.00;"WAT";;"#,
            "k_symbol: `WAT`",
        ),
        (
            r#"1;9;930101;"PRIJEM";"VKLAD";7.00;7.00;"";"abc";"#,
            "bank: `abc`",
        ),
        (
            r#"1;9;930101;"PRIJEM";"VKLAD";7.00;7.00;"";"AB";x1"#,
            "account: `x1`",
        ),
    ];
    for (text, expected) in table {
        let found = reason(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
    assert!(
        parse_line(3, b"1;9;\xff\xfe")
            .unwrap_err()
            .reason
            .contains("UTF-8")
    );
}
