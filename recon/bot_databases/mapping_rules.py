"""The rules for the SQL of a mapping: an allow list of grammar, tables and functions.

A mapping is third-party SQL. A sealed DuckDB still exposes its spill folder, settings, catalogue,
clock and random numbers. So each query is parsed, and every part must be on a list. Additions of a
later DuckDB release are refused until they are listed.

The rules ensure that a query reads only the tables of its bot, and that its answer depends on
nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_SOURCES = {
    "BASE_TABLE",
    "EMPTY",
    "EXPRESSION_LIST",
    "JOIN",
    "PIVOT",
    "SUBQUERY",
    "TABLE_FUNCTION",
}
_MODIFIERS = {"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"}
_ORDERS = {"ASCENDING", "DESCENDING", "ORDER_DEFAULT"}
_STATEMENT_PARTS = _NODES | _SOURCES | _MODIFIERS | _ORDERS
_EXPRESSIONS = {
    "BETWEEN",
    "CASE",
    "CAST",
    "COLLATE",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "CONSTANT",
    "FUNCTION",
    "LAMBDA",
    "OPERATOR",
    "POSITIONAL_REFERENCE",
    "STAR",
    "SUBQUERY",
    "TYPE",
    "WINDOW",
}

_TABLE_FUNCTIONS = {"generate_series", "json_each", "json_tree", "range", "unnest"}

_CLOCK_AND_SESSION = {
    "current_catalog",
    "current_date",
    "current_localtime",
    "current_localtimestamp",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
}
"""Names that DuckDB reads as a function where no column has the name."""

_OPERATORS = """
    != % & && * ** + - -> ->> / // < <-> << <= <=> <@ = > >= >> @ @> ^ ^@ | || ~ ~~ ~~* ~~~
    !~~ !~~* !__postfix
"""
_CONDITIONALS = """
    alias assert_true coalesce constant_or_null error greatest if ifnull least nullif switch
    typeof pg_typeof hash
"""
_NUMBERS = """
    abs acos acosh add asin asinh atan atan2 atanh bin binom bit_count bit_length bit_position
    bitstring cbrt ceil ceiling cos cosh cot decimal_division degrees divide even exp factorial fdiv
    floor fmod gamma gcd get_bit greatest_common_divisor isfinite isinf isnan lcm
    least_common_multiple lgamma ln log log10 log2 mod multiply nextafter pi pow power radians round
    round_even roundbankers set_bit sign signbit sin sinh sqrt subtract tan tanh trunc xor
"""
_TEXTS = """
    ascii bar base64 char_length character_length chr concat concat_ws contains
    damerau_levenshtein decode editdist3 encode ends_with format format_bytes formatreadablesize
    formatreadabledecimalsize from_base64 from_binary from_hex hamming hex ilike_escape instr
    jaccard jaro_similarity jaro_winkler_similarity lcase left left_grapheme length
    length_grapheme levenshtein like_escape lower lpad ltrim md5 md5_number md5_number_lower
    md5_number_upper mismatches nfc_normalize not_ilike_escape not_like_escape octet_length ord
    overlay parse_formatted_bytes position prefix printf regexp_escape regexp_extract
    regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array
    regexp_split_to_table repeat replace reverse right right_grapheme rpad rtrim sha1 sha256 split
    split_part starts_with str_split str_split_regex string_split string_split_regex
    string_to_array strip_accents strlen strpos substr substring substring_grapheme suffix to_base
    to_base64 to_binary to_hex translate trim ucase unbin unhex unicode upper url_decode url_encode
"""
_TIMES = """
    century date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc
    day dayname dayofmonth dayofweek dayofyear days_in_month decade epoch epoch_ms epoch_ns
    epoch_us era hour isodow isoyear julian last_day make_date make_time make_timestamp
    make_timestamp_ms make_timestamp_ns make_timestamptz microsecond millennium millisecond minute
    month monthname nanosecond normalized_interval quarter second strftime strptime time_bucket
    timezone timezone_hour timezone_minute to_centuries to_days to_decades to_hours
    to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds
    to_timestamp to_weeks to_years try_strptime week weekday weekofyear year yearweek
"""
_LISTS = """
    aggregate apply array_aggr array_aggregate array_append array_apply array_cat array_concat
    array_contains array_distinct array_extract array_filter array_grade_up array_has array_has_all
    array_has_any array_indexof array_intersect array_length array_pop_back array_pop_front
    array_position array_prepend array_push_back array_push_front array_reduce array_resize
    array_reverse array_reverse_sort array_select array_slice array_sort array_to_json
    array_to_string array_to_string_comma_default array_transform array_unique array_value
    array_where array_zip cardinality element_at enum_code enum_first enum_last enum_range
    enum_range_boundary filter flatten generate_series generate_subscripts grade_up len list_aggr
    list_aggregate list_any_value list_append list_apply list_avg list_bit_and list_bit_or
    list_bit_xor list_bool_and list_bool_or list_cat list_concat list_contains list_count
    list_distinct list_element list_extract list_filter list_first list_grade_up list_has
    list_has_all list_has_any list_histogram list_indexof list_intersect list_last list_max
    list_median list_min list_mode list_pack list_position list_prepend list_product list_reduce
    list_resize list_reverse list_reverse_sort list_select list_slice list_sort list_stddev_pop
    list_stddev_samp list_string_agg list_sum list_transform list_unique list_value list_var_pop
    list_var_samp list_where list_zip map map_concat map_contains map_contains_entry
    map_contains_value map_entries map_extract map_extract_value map_from_entries map_keys
    map_values range reduce row struct_concat struct_contains struct_extract struct_extract_at
    struct_has struct_indexof struct_insert struct_keys struct_pack struct_position struct_update
    struct_values union_extract union_tag union_value unnest unpivot_list
"""
_JSON = """
    from_json from_json_strict json json_array json_array_length json_contains json_deep_merge
    json_exists json_extract json_extract_path json_extract_path_text json_extract_string
    json_group_array json_group_object json_group_structure json_insert json_keys json_merge_patch
    json_normalize json_object json_pretty json_quote json_remove json_replace json_set
    json_strip_nulls json_structure json_transform json_transform_strict json_type json_valid
    json_value row_to_json to_json
"""
_AGGREGATES = """
    any_value arbitrary arg_max arg_max_null arg_max_nulls_last arg_min arg_min_null
    arg_min_nulls_last argmax argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or corr
    count count_if count_star countif covar_pop covar_samp decimal_average entropy favg first fsum
    geomean geometric_mean group_concat grouping grouping_id histogram histogram_exact kahan_sum
    kurtosis kurtosis_pop last list listagg mad max max_by mean median min min_by mode product
    quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2
    regr_slope regr_sxx regr_sxy regr_syy sem skewness stddev stddev_pop stddev_samp string_agg sum
    sum_no_overflow sumkahan var_pop var_samp variance wavg weighted_avg
"""
_WINDOWS = """
    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank
    rank_dense row_number
"""
_GROUPS = (
    _OPERATORS,
    _CONDITIONALS,
    _NUMBERS,
    _TEXTS,
    _TIMES,
    _LISTS,
    _JSON,
    _AGGREGATES,
    _WINDOWS,
)
FUNCTIONS = frozenset(name for group in _GROUPS for name in group.split())
"""DuckDB's functions that a mapping may call: their results depend on their arguments alone."""

_REMEDY_FOR_TIME = "take the time from the bot's rows: the answer must be the same in every run"


class Refused(Exception):
    """A query breaks the rules of mappings. The message names the part and the remedy."""


def check_query(tree: Any, tables: Iterable[str], ours: Iterable[str]) -> None:
    """Check the parsed text of one query, as DuckDB's `json_serialize_sql` writes it.

    `tables` are the names of the bot's tables, `ours` those of recon's own functions. Raises
    Refused.
    """
    if len(tree["statements"]) != 1:
        raise Refused("must be one select statement, and nothing else")
    parts = list(_parts(tree["statements"][0]["node"]))
    names = _query_names(parts)
    known = {table.lower(): table for table in tables}
    allowed = FUNCTIONS | {name.lower() for name in ours}
    for part in parts:
        if "class" in part:
            _check_expression(part, allowed)
        elif isinstance(part.get("type"), str):
            _check_part(part, names, known)
        if part.get("sample") is not None:
            raise Refused("takes a sample, which differs every time: choose rows by a condition")


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Return every object of a JSON tree. Not recursive: a query may be nested deeply."""
    left = [tree]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)


def _query_names(parts: Collection[Mapping[str, Any]]) -> frozenset[str]:
    """Return the names that `with` gives to queries, in lower case.

    A name is accepted anywhere in the statement, also outside its scope. So it must not be the name
    of a file or of a table of DuckDB's catalogue.
    """
    names = {
        entry["key"] for part in parts if "cte_map" in part for entry in part["cte_map"]["map"]
    }
    for name in names:
        if not re.fullmatch(r"\w+", name) or re.match(
            "duckdb_|pg_|pragma_|sqlite_", name, re.IGNORECASE
        ):
            raise Refused(
                f"names a query {name!r}: use letters, digits and _, and no prefix of a system "
                "table (duckdb_, pg_, pragma_, sqlite_)"
            )
    return frozenset(name.lower() for name in names)


def _check_part(part: Mapping[str, Any], names: Collection[str], known: Mapping[str, str]) -> None:
    kind = part["type"]
    if kind == "SHOW_REF":
        raise Refused("describes or summarizes: select the rows of the bot's tables instead")
    if kind not in _STATEMENT_PARTS:
        raise Refused("must be one select statement, and nothing else")
    if kind == "BASE_TABLE":
        _check_table(part, names, known)
    if kind == "TABLE_FUNCTION":
        function = part["function"]
        name = function.get("function_name", "")
        if name.lower() not in _TABLE_FUNCTIONS:
            some = ", ".join(sorted(_TABLE_FUNCTIONS))
            raise Refused(f"reads from {name}(): only the bot's tables and {some} can be read")


def _check_table(part: Mapping[str, Any], names: Collection[str], known: Mapping[str, str]) -> None:
    path = [name for name in part["qualified_name"]["path"] if name]
    shown = ".".join(path)
    if part["at_clause"] is not None:
        raise Refused(f"reads {shown} as of a version: leave `at (…)` out")
    if len(path) == 1:
        if path[0].lower() not in names:
            raise Refused(
                f"reads {shown}, which is not a table of the bot: name its tables as bot.table "
                f"({_listed(known.values())})"
            )
        return
    if len(path) != 2 or path[0].lower() != "bot":
        raise Refused(
            f"reads {shown}: only the bot's tables can be read, as bot.table "
            f"({_listed(known.values())})"
        )
    if path[1].lower() not in known:
        raise Refused(f"reads {shown}, which the bot lacks: use one of {_listed(known.values())}")


def _listed(tables: Collection[str]) -> str:
    return ", ".join(sorted(tables)) or "no tables"


def _check_expression(part: Mapping[str, Any], allowed: Collection[str]) -> None:
    kind = part["class"]
    if kind not in _EXPRESSIONS:
        raise Refused(
            "has a parameter ($1, ?): write the value itself"
            if kind == "PARAMETER"
            else f"has an expression of kind {kind}, which mappings may not use: leave it out"
        )
    if kind == "COLUMN_REF":
        path = part["column_names"]
        if len(path) == 1 and path[0].lower() in _CLOCK_AND_SESSION:
            raise Refused(
                f"reads {path[0]}: {_REMEDY_FOR_TIME}. Write a column of that name as "
                f'table."{path[0]}"'
            )
    name = part.get("function_name")
    if name is None:
        return
    if part.get("schema") or part.get("catalog"):
        raise Refused(f"calls {name} by its schema: write the function's name alone")
    if name.lower() not in allowed:
        raise Refused(f"calls {name}(), which mappings may not use: {_remedy(name.lower())}")


def _remedy(name: str) -> str:
    if name in {
        "now",
        "today",
        "age",
        "ago",
        "get_current_time",
        "get_current_timestamp",
        "transaction_timestamp",
    } or name.startswith("current_"):
        return _REMEDY_FOR_TIME
    return "use one of the functions in docs/trader/mappings.md"


def parsed(text: str) -> Any:
    """Return the tree that DuckDB's serializer wrote. Raises Refused where it is too deep."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise Refused("is nested too deeply: split it into queries in `with`") from error
