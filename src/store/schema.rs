//! The tables as Diesel sees them; the same for both databases (see `migrations/`).
//!
//! Identifiers, enums and JSON are text, instants are UTC without a zone, cut to microseconds.

diesel::table! {
    journal (seq) {
        seq -> BigInt,
        at -> Timestamp,
        kind -> Text,
        entry -> Text,
    }
}

diesel::table! {
    boots (seq) {
        seq -> BigInt,
        at -> Timestamp,
        boot -> Integer,
        version -> Text,
        site -> Text,
        unit -> Text,
    }
}

diesel::table! {
    users (id) {
        id -> Text,
        institute -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    telescopes (unit) {
        unit -> Text,
        site -> Text,
        lat_deg -> Nullable<Double>,
        lon_deg -> Nullable<Double>,
        alt_m -> Nullable<Double>,
        described_at -> Timestamp,
    }
}

diesel::table! {
    instruments (unit, channel) {
        unit -> Text,
        channel -> Text,
        camera -> Text,
        filters -> Text,
        described_at -> Timestamp,
    }
}

diesel::table! {
    devices (id) {
        id -> Text,
        model -> Text,
        version -> Text,
        link_up -> Bool,
        link_cause -> Text,
        garbage_total -> BigInt,
        changed_at -> Timestamp,
    }
}

diesel::table! {
    requests (id) {
        id -> Text,
        seq -> BigInt,
        title -> Text,
        user_id -> Text,
        origin -> Text,
        event_id -> Nullable<Text>,
        strategy -> Nullable<Text>,
        submitted_at -> Timestamp,
    }
}

diesel::table! {
    sequences (id) {
        id -> Text,
        request_id -> Text,
        position -> Integer,
        user_id -> Text,
        target_name -> Text,
        ra_deg -> Double,
        dec_deg -> Double,
        priority -> Double,
        window_start -> Nullable<Timestamp>,
        window_end -> Nullable<Timestamp>,
        t_prefered -> Nullable<Timestamp>,
        min_alt_deg -> Double,
        moon_sep_deg -> Double,
        sun_max_alt_deg -> Double,
        state -> Text,
        why -> Nullable<Text>,
        moved_at -> Timestamp,
        progress -> Text,
        constraints -> Nullable<Text>,
        timing -> Nullable<Text>,
    }
}

diesel::table! {
    albums (sequence_id, position) {
        sequence_id -> Text,
        position -> Integer,
        channel -> Text,
    }
}

diesel::table! {
    plans (sequence_id, album, position) {
        sequence_id -> Text,
        album -> Integer,
        position -> Integer,
        filter -> Text,
        exposure_s -> Double,
        frames -> BigInt,
        binning -> BigInt,
        dither_arcsec -> Double,
    }
}

diesel::table! {
    schedules (seq) {
        seq -> BigInt,
        id -> Text,
        made_at -> Timestamp,
        cause -> Text,
        is_first -> Bool,
        objective -> Nullable<Double>,
        upper_bound -> Nullable<Double>,
    }
}

diesel::table! {
    schedule_sequences (schedule_seq, position) {
        schedule_seq -> BigInt,
        position -> Integer,
        sequence_id -> Text,
        placed -> Bool,
        tsp -> Nullable<Timestamp>,
        tep -> Nullable<Timestamp>,
        delta_tl_s -> Nullable<Double>,
        delta_tr_s -> Nullable<Double>,
        reason -> Nullable<Text>,
        sentence -> Nullable<Text>,
        earliest -> Nullable<Timestamp>,
        setup_s -> Nullable<Double>,
        detail -> Nullable<Text>,
        excluded -> Nullable<Text>,
        chance -> Nullable<Text>,
    }
}

diesel::table! {
    quota_postings (seq) {
        seq -> BigInt,
        at -> Timestamp,
        account -> Text,
        from_book -> Text,
        to_book -> Text,
        amount_us -> BigInt,
        sequence_id -> Nullable<Text>,
        cause -> Text,
    }
}

diesel::table! {
    alerts (seq) {
        seq -> BigInt,
        received_at -> Timestamp,
        packet -> Text,
        channel -> Text,
        size_bytes -> BigInt,
        verdict -> Text,
        reason -> Text,
        body -> Binary,
        identity -> Nullable<Text>,
        event -> Nullable<Text>,
    }
}

diesel::table! {
    alert_events (id) {
        id -> Text,
        seq -> BigInt,
        state -> Text,
        name -> Text,
        ra_deg -> Nullable<Double>,
        dec_deg -> Nullable<Double>,
        r90_deg -> Nullable<Double>,
        cause -> Text,
        first_at -> Timestamp,
        moved_at -> Timestamp,
        followed -> Nullable<Bool>,
        strategy -> Nullable<Text>,
        decision -> Nullable<Text>,
        request_id -> Nullable<Text>,
        decided_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    alert_event_packets (event_id, packet) {
        event_id -> Text,
        packet -> Text,
        seq -> BigInt,
    }
}

diesel::table! {
    alert_timings (event_id, stage) {
        event_id -> Text,
        stage -> Text,
        at -> Timestamp,
    }
}

diesel::table! {
    strategies (id) {
        id -> Text,
        body -> Text,
        enabled -> Bool,
        changed_at -> Timestamp,
    }
}

diesel::table! {
    exposures (id) {
        id -> Text,
        seq -> BigInt,
        sequence_id -> Nullable<Text>,
        channel -> Text,
        kind -> Text,
        filter -> Text,
        exposure_s -> Double,
        binning -> BigInt,
        started_at -> Timestamp,
        ended_at -> Nullable<Timestamp>,
        outcome -> Nullable<Text>,
        product_id -> Nullable<Text>,
        cause -> Nullable<Text>,
    }
}

diesel::table! {
    products (id) {
        id -> Text,
        seq -> BigInt,
        kind -> Text,
        exposure_id -> Nullable<Text>,
        sequence_id -> Nullable<Text>,
        path -> Text,
        size_bytes -> BigInt,
        sha256 -> Text,
        made_at -> Timestamp,
    }
}

diesel::table! {
    frame_reductions (exposure_id) {
        exposure_id -> Text,
        seq -> BigInt,
        reduced_at -> Timestamp,
        sources -> BigInt,
        fwhm_px -> Nullable<Double>,
        background -> Nullable<Double>,
        rms -> Nullable<Double>,
        degradations -> Text,
    }
}

diesel::table! {
    frame_solutions (exposure_id) {
        exposure_id -> Text,
        seq -> BigInt,
        ra_deg -> Nullable<Double>,
        dec_deg -> Nullable<Double>,
        matched -> BigInt,
        zero_point -> Nullable<Double>,
        limiting_mag -> Nullable<Double>,
    }
}

diesel::table! {
    pipeline_runs (id) {
        id -> Text,
        seq -> BigInt,
        pipeline -> Text,
        state -> Text,
        cause -> Text,
        created_at -> Timestamp,
        moved_at -> Timestamp,
    }
}

diesel::table! {
    observation_unit_sets (id) {
        id -> Text,
        seq -> BigInt,
        program -> Text,
        state -> Text,
        author -> Text,
        cause -> Text,
        created_at -> Timestamp,
        moved_at -> Timestamp,
    }
}

diesel::table! {
    nights (night) {
        night -> Text,
        seq -> BigInt,
        began_at -> Timestamp,
        sunset -> Nullable<Timestamp>,
        dusk -> Nullable<Timestamp>,
        dawn -> Nullable<Timestamp>,
        sunrise -> Nullable<Timestamp>,
        state -> Nullable<Text>,
        cause -> Nullable<Text>,
        report_path -> Nullable<Text>,
    }
}

diesel::table! {
    weather_samples (at, quantity) {
        at -> Timestamp,
        quantity -> Text,
        value -> Nullable<Double>,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    logs (seq) {
        seq -> BigInt,
        at -> Timestamp,
        severity -> Text,
        source -> Text,
        message -> Text,
    }
}

diesel::table! {
    accounts (id) {
        id -> Text,
        name -> Text,
        email -> Text,
        institute -> Text,
        role -> Text,
        state -> Text,
        password -> Nullable<Text>,
        created_at -> Timestamp,
    }
}

diesel::table! {
    package_runs (id) {
        id -> Text,
        package -> Text,
        state -> Text,
        created_at -> Timestamp,
        record -> Text,
    }
}

diesel::table! {
    sessions (digest) {
        digest -> Text,
        account_id -> Text,
        created_at -> Timestamp,
        seen_at -> Timestamp,
        address -> Text,
        agent -> Text,
    }
}

diesel::table! {
    api_tokens (digest) {
        digest -> Text,
        name -> Text,
        account_id -> Text,
        scopes -> Text,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        used_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    one_time_codes (digest) {
        digest -> Text,
        purpose -> Text,
        account_id -> Text,
        expires_at -> Timestamp,
    }
}

diesel::table! {
    audit (seq) {
        seq -> BigInt,
        at -> Timestamp,
        who -> Text,
        address -> Text,
        action -> Text,
        subject -> Text,
        outcome -> Text,
        digest -> Text,
    }
}

diesel::table! {
    package_outputs (run, name) {
        run -> Text,
        name -> Text,
        size -> BigInt,
        sha256 -> Text,
    }
}

diesel::table! {
    /// A view over `quota_postings`.
    quota_balances (account) {
        account -> Text,
        granted_us -> BigInt,
        free_us -> BigInt,
        reserved_us -> BigInt,
        spent_us -> BigInt,
    }
}

diesel::table! {
    units (uid) {
        uid -> Text,
        program -> Text,
        recipe -> Nullable<Text>,
        executive -> Nullable<Text>,
        state -> Text,
        step -> Nullable<Text>,
        created_at -> Timestamp,
        changed_at -> Timestamp,
    }
}

diesel::table! {
    unit_events (uid, number) {
        uid -> Text,
        number -> BigInt,
        at -> Timestamp,
        what -> Text,
        from_value -> Nullable<Text>,
        to_value -> Nullable<Text>,
        author -> Text,
        cause -> Text,
    }
}

diesel::table! {
    bus_messages (id) {
        id -> Text,
        number -> BigInt,
        from_site -> Text,
        to_site -> Text,
        selector -> Text,
        body -> Text,
        reply_to -> Nullable<Text>,
        answers -> Nullable<Text>,
        author -> Text,
        created_at -> Timestamp,
        expires_at -> Nullable<Timestamp>,
        state -> Text,
        token -> Nullable<Text>,
        lease_until -> Nullable<Timestamp>,
        attempts -> Integer,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    bus_groups (name, member) {
        name -> Text,
        member -> Text,
    }
}

diesel::table! {
    bus_counter (id) {
        id -> Integer,
        next -> BigInt,
        epoch -> Text,
    }
}

diesel::table! {
    delivery_records (kind, id) {
        kind -> Text,
        id -> Text,
        unit -> Text,
        state -> Text,
        at -> Timestamp,
        body -> Text,
    }
}

diesel::table! {
    delivery_log (number) {
        number -> BigInt,
        at -> Timestamp,
        kind -> Text,
        subject -> Text,
        author -> Text,
        text -> Text,
    }
}

diesel::table! {
    product_metadata (obs_publisher_did) {
        obs_publisher_did -> Text,
        name -> Text,
        unit -> Text,
        program -> Text,
        sha256 -> Text,
        recorded_at -> Timestamp,
        dataproduct_type -> Nullable<Text>,
        calib_level -> Integer,
        obs_collection -> Text,
        obs_id -> Text,
        access_url -> Text,
        access_format -> Text,
        access_estsize -> BigInt,
        target_name -> Nullable<Text>,
        s_ra -> Nullable<Double>,
        s_dec -> Nullable<Double>,
        s_fov -> Nullable<Double>,
        s_region -> Nullable<Text>,
        s_resolution -> Nullable<Double>,
        s_xel1 -> Nullable<BigInt>,
        s_xel2 -> Nullable<BigInt>,
        t_min -> Nullable<Double>,
        t_max -> Nullable<Double>,
        t_exptime -> Nullable<Double>,
        em_min -> Nullable<Double>,
        em_max -> Nullable<Double>,
        o_ucd -> Nullable<Text>,
        facility_name -> Nullable<Text>,
        instrument_name -> Nullable<Text>,
        filter -> Nullable<Text>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(schedules, schedule_sequences);
diesel::allow_tables_to_appear_in_same_query!(products, sequences);
diesel::allow_tables_to_appear_in_same_query!(requests, sequences);
diesel::allow_tables_to_appear_in_same_query!(exposures, sequences);
