-- What docs/counting.md, rule 8, makes of the records: `verdicts`, one row a record.
-- Shares nothing with the jobs. It reads
--   records(topic, partition, offset, arrived_at, value)

CREATE OR REPLACE TEMPORARY FUNCTION is_missing(v VARIANT) RETURNS BOOLEAN
  RETURN v IS NULL OR is_variant_null(v);
CREATE OR REPLACE TEMPORARY FUNCTION text_of(v VARIANT) RETURNS STRING
  RETURN CASE WHEN schema_of_variant(v) = 'STRING' THEN try_variant_get(v, '$', 'string') END;
CREATE OR REPLACE TEMPORARY FUNCTION is_no_identifier(t STRING) RETURNS BOOLEAN
  RETURN NOT coalesce(t RLIKE r'^[A-Za-z0-9_-]{1,64}\z', FALSE);

-- Rule 8: what is no fact, and the first reason that applies.
CREATE OR REPLACE TEMPORARY VIEW verdicts AS
WITH texts AS (
  SELECT topic, partition, offset, arrived_at, CAST(value AS STRING) AS body, md5(value) AS seal FROM records
),
-- One value and nothing after it: no text can hold its own digest.
-- A generator is a barrier: without it each use of a field, and each filter, would parse the record again.
parsed AS (
  SELECT texts.*, p.sealed FROM texts LATERAL VIEW inline(array(named_struct('sealed', coalesce(
      try_parse_json(concat('[', body, ',"', seal, '"]')),
      -- Half a pair of surrogates is JSON, but no VARIANT: it is read as `?`, as every UTF-8 encoder writes it.
      CASE WHEN body RLIKE r'\\u[dD][89a-fA-F]' THEN try_parse_json(concat('[', regexp_replace(regexp_replace(body,
        r'(?<!\\)((?:\\\\)*)\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})', '$1?'),
        r'(?<!\\u[dD][89abAB][0-9a-fA-F]{2})(?<!\\)((?:\\\\)*)\\u[dD][c-fC-F][0-9a-fA-F]{2}', '$1?'),
        ',"', seal, '"]')) END)))) p AS sealed
),
objects AS (
  SELECT *, CASE WHEN is_valid_utf8(body)
                  AND body RLIKE r'^[ \t\r\n]*\{'
                  AND try_variant_get(sealed, '$[1]', 'string') = seal
                 THEN try_variant_get(sealed, '$[0]', 'variant') END AS doc
  FROM parsed
),
fields AS (
  SELECT topic, partition, offset, arrived_at, doc,
    try_variant_get(doc, '$.event_id', 'variant') AS event_id_value,
    try_variant_get(doc, '$.event_type', 'variant') AS event_type_value,
    try_variant_get(doc, '$.occurred_at', 'variant') AS occurred_at_value,
    try_variant_get(doc, '$.user_id', 'variant') AS user_id_value,
    try_variant_get(doc, '$.post_id', 'variant') AS post_id_value,
    try_variant_get(doc, '$.image_url', 'variant') AS image_url_value,
    try_variant_get(doc, '$.caption', 'variant') AS caption_value,
    try_variant_get(doc, '$.comment_id', 'variant') AS comment_id_value,
    try_variant_get(doc, '$.text', 'variant') AS text_value
  FROM objects
),
strings AS (
  SELECT *, text_of(event_id_value) AS event_id, text_of(event_type_value) AS event_type,
    text_of(occurred_at_value) AS occurred_at, text_of(user_id_value) AS user_id, text_of(post_id_value) AS post_id,
    text_of(image_url_value) AS image_url, text_of(caption_value) AS caption, text_of(comment_id_value) AS comment_id,
    text_of(text_value) AS text
  FROM fields
),
typed AS (
  SELECT *, CASE event_type
              WHEN 'post_created' THEN 'posts' WHEN 'post_deleted' THEN 'posts'
              WHEN 'post_liked' THEN 'likes' WHEN 'post_unliked' THEN 'likes'
              WHEN 'comment_added' THEN 'comments' WHEN 'comment_deleted' THEN 'comments' END AS home,
    coalesce(event_type = 'post_created', FALSE) AS is_post,
    coalesce(event_type = 'comment_added', FALSE) AS is_comment,
    coalesce(event_type IN ('comment_added', 'comment_deleted'), FALSE) AS has_comment_id,
    try_cast(occurred_at AS TIMESTAMP) AS moment
  FROM strings
),
judgements AS (
  SELECT topic, partition, offset, arrived_at,
    CASE
      WHEN doc IS NULL THEN 'not_json'
      WHEN NOT is_missing(event_type_value) AND home IS NULL THEN 'unknown_type'
      WHEN home <> topic THEN 'wrong_topic'
      WHEN is_missing(event_id_value) OR is_missing(event_type_value) OR is_missing(occurred_at_value)
        OR is_missing(user_id_value) OR is_missing(post_id_value)
        OR (is_post AND (is_missing(image_url_value) OR is_missing(caption_value)))
        OR (has_comment_id AND is_missing(comment_id_value))
        OR (is_comment AND is_missing(text_value)) THEN 'missing_field'
      WHEN is_no_identifier(event_id) OR is_no_identifier(user_id) OR is_no_identifier(post_id)
        OR (has_comment_id AND is_no_identifier(comment_id))
        OR (is_post AND NOT coalesce(char_length(image_url) <= 2048, FALSE))
        OR (is_post AND NOT coalesce(char_length(caption) <= 2200, FALSE))
        OR (is_comment AND NOT coalesce(char_length(text) BETWEEN 1 AND 2200, FALSE))
        OR NOT coalesce(occurred_at RLIKE r'^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z\z', FALSE)
        OR moment IS NULL OR year(moment) < 1 THEN 'bad_field'
      WHEN moment > arrived_at + INTERVAL 5 MINUTES THEN 'from_the_future'
    END AS verdict,
    event_id, event_type, occurred_at, user_id, post_id, image_url, caption,
    CASE WHEN has_comment_id THEN comment_id END AS comment_id  -- on other facts it is a field that nobody knows
  FROM typed
)
SELECT topic, partition, offset, arrived_at, j.reason, event_id, event_type, occurred_at, user_id, post_id, image_url, caption,
  comment_id
FROM judgements LATERAL VIEW inline(array(named_struct('reason', verdict))) j AS reason;
