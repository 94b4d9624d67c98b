-- What the contract, section 2, makes of the records: one row a post.
-- Shares nothing with the jobs. It reads
--   records(topic, partition, offset, arrived_at, value)
--   cut(topic, partition, next)      the counts job has counted all records below `next`
--   targets(post_id, seen)           {topic: [partition, offset]} of the row that is published of the post

CREATE OR REPLACE TEMPORARY FUNCTION is_missing(v VARIANT) RETURNS BOOLEAN
  RETURN v IS NULL OR is_variant_null(v);
CREATE OR REPLACE TEMPORARY FUNCTION text_of(v VARIANT) RETURNS STRING
  RETURN CASE WHEN schema_of_variant(v) = 'STRING' THEN try_variant_get(v, '$', 'string') END;
CREATE OR REPLACE TEMPORARY FUNCTION is_no_identifier(v VARIANT) RETURNS BOOLEAN
  RETURN NOT coalesce(text_of(v) RLIKE r'^[A-Za-z0-9_-]{1,64}\z', FALSE);

-- Rule 8: what is no fact, and the first reason that applies.
CREATE OR REPLACE TEMPORARY VIEW judged AS
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
    try_variant_get(doc, '$.event_id', 'variant') AS event_id,
    try_variant_get(doc, '$.event_type', 'variant') AS event_type,
    try_variant_get(doc, '$.occurred_at', 'variant') AS occurred_at,
    try_variant_get(doc, '$.user_id', 'variant') AS user_id,
    try_variant_get(doc, '$.post_id', 'variant') AS post_id,
    try_variant_get(doc, '$.image_url', 'variant') AS image_url,
    try_variant_get(doc, '$.caption', 'variant') AS caption,
    try_variant_get(doc, '$.comment_id', 'variant') AS comment_id,
    try_variant_get(doc, '$.text', 'variant') AS text
  FROM objects
),
typed AS (
  SELECT *, CASE text_of(event_type)
              WHEN 'post_created' THEN 'posts' WHEN 'post_deleted' THEN 'posts'
              WHEN 'post_liked' THEN 'likes' WHEN 'post_unliked' THEN 'likes'
              WHEN 'comment_added' THEN 'comments' WHEN 'comment_deleted' THEN 'comments' END AS home,
    coalesce(text_of(event_type) = 'post_created', FALSE) AS is_post,
    coalesce(text_of(event_type) = 'comment_added', FALSE) AS is_comment,
    coalesce(text_of(event_type) IN ('comment_added', 'comment_deleted'), FALSE) AS has_comment_id,
    try_cast(text_of(occurred_at) AS TIMESTAMP) AS moment
  FROM fields
),
judgements AS (
  SELECT topic, partition, offset, arrived_at,
    CASE
      WHEN doc IS NULL THEN 'not_json'
      WHEN NOT is_missing(event_type) AND home IS NULL THEN 'unknown_type'
      WHEN home <> topic THEN 'wrong_topic'
      WHEN is_missing(event_id) OR is_missing(event_type) OR is_missing(occurred_at) OR is_missing(user_id)
        OR is_missing(post_id) OR (is_post AND (is_missing(image_url) OR is_missing(caption)))
        OR (has_comment_id AND is_missing(comment_id)) OR (is_comment AND is_missing(text)) THEN 'missing_field'
      WHEN is_no_identifier(event_id) OR is_no_identifier(user_id) OR is_no_identifier(post_id)
        OR (has_comment_id AND is_no_identifier(comment_id))
        OR (is_post AND NOT coalesce(char_length(text_of(image_url)) <= 2048, FALSE))
        OR (is_post AND NOT coalesce(char_length(text_of(caption)) <= 2200, FALSE))
        OR (is_comment AND NOT coalesce(char_length(text_of(text)) BETWEEN 1 AND 2200, FALSE))
        OR NOT coalesce(text_of(occurred_at)
             RLIKE r'^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z\z', FALSE)
        OR moment IS NULL OR year(moment) < 1 THEN 'bad_field'
      WHEN moment > arrived_at + INTERVAL 5 MINUTES THEN 'from_the_future'
    END AS verdict,
    text_of(event_id) AS event_id, text_of(event_type) AS event_type, text_of(occurred_at) AS occurred_at,
    text_of(user_id) AS user_id, text_of(post_id) AS post_id, text_of(image_url) AS image_url,
    text_of(caption) AS caption, text_of(comment_id) AS comment_id
  FROM typed
)
SELECT topic, partition, offset, arrived_at, j.reason, event_id, event_type, occurred_at, user_id, post_id, image_url, caption,
  comment_id
FROM judgements LATERAL VIEW inline(array(named_struct('reason', verdict))) j AS reason;

-- As of what is published: which of a post's facts went into its row, and which should have.
CREATE OR REPLACE TEMPORARY VIEW placed AS
WITH near AS (
  SELECT f.*, coalesce(f.offset < c.next, FALSE) AS is_old, t.post_id IS NOT NULL AS is_published,
    get(t.seen[f.topic], 0) AS seen_partition, get(t.seen[f.topic], 1) AS seen_offset
  FROM judged f
  LEFT JOIN cut c ON f.topic = c.topic AND f.partition = c.partition
  LEFT JOIN targets t ON f.post_id = t.post_id
  WHERE f.reason IS NULL
)
SELECT *, CASE
    WHEN NOT is_published THEN is_old
    WHEN partition = seen_partition THEN offset <= seen_offset
    WHEN partition < seen_partition THEN is_old
    ELSE FALSE END AS is_in
FROM near;

-- Rules 1 to 6. Of each (post, user) or (post, comment, user) one record decides; the others are superseded.
CREATE OR REPLACE TEMPORARY VIEW recounted AS
WITH pairs AS (
  SELECT *,
    row_number() OVER (PARTITION BY post_id, topic, user_id, comment_id, is_in
      ORDER BY event_type LIKE '%_deleted' DESC, occurred_at DESC, event_id DESC) AS place,
    max(event_type LIKE '%_deleted') OVER pair AS is_gone,
    min(CASE WHEN event_type IN ('post_created', 'comment_added')
             THEN struct(occurred_at, event_id, image_url, caption) END) OVER pair AS creation
  FROM placed
  WINDOW pair AS (PARTITION BY post_id, topic, user_id, comment_id, is_in)
),
posts AS (
  SELECT post_id,
    count_if(is_in AND place = 1 AND event_type = 'post_liked') AS likes,
    count_if(is_in AND place = 1 AND topic = 'comments' AND creation IS NOT NULL AND NOT is_gone) AS comments,
    min(CASE WHEN is_in AND place = 1 AND topic = 'posts' AND creation IS NOT NULL
             THEN struct(creation.occurred_at, creation.event_id, NOT is_gone AS alive, user_id,
                         creation.image_url, creation.caption) END) AS post,
    max(CASE WHEN is_in AND (topic = 'likes' OR (topic = 'comments' AND creation IS NOT NULL))
             THEN occurred_at END) AS touched_at,
    max(CASE WHEN is_in AND topic = 'posts' THEN struct(partition, offset) END) AS in_posts,
    max(CASE WHEN is_in AND topic = 'likes' THEN struct(partition, offset) END) AS in_likes,
    max(CASE WHEN is_in AND topic = 'comments' THEN struct(partition, offset) END) AS in_comments,
    count_if(is_in) AS version,
    count_if(is_in AND place = 1) AS counted,
    count_if(is_in AND place > 1) AS superseded,
    count_if(NOT is_in) AS waiting,
    count_if(NOT is_in AND is_old) AS missed,
    count_if(NOT is_in AND NOT is_old AND partition < seen_partition) AS unsettled
  FROM pairs GROUP BY post_id
)
SELECT post_id, post.alive AS alive,
  named_struct('user_id', post.user_id, 'image_url', post.image_url, 'caption', post.caption,
    'created_at', post.occurred_at, 'likes', likes, 'comments', comments,
    'updated_at', greatest(post.occurred_at, touched_at), 'version', version) AS said,
  named_struct(
    'posts', CASE WHEN in_posts IS NOT NULL THEN array(bigint(in_posts.partition), in_posts.offset) END,
    'likes', CASE WHEN in_likes IS NOT NULL THEN array(bigint(in_likes.partition), in_likes.offset) END,
    'comments', CASE WHEN in_comments IS NOT NULL THEN array(bigint(in_comments.partition), in_comments.offset) END
  ) AS seen,
  counted, superseded, waiting, missed, unsettled
FROM posts;
