-- What docs/counting.md, rules 1 to 6, makes of the facts: one row a post.
-- Shares nothing with the jobs. It reads
--   in_part                          what judge.sql has made of the records, of the posts that are to be judged
--   cut(topic, partition, next)      the counts job has counted all records below `next`
--   targets(post_id, seen)           {topic: [partition, offset]} of the row that is published of the post

-- As of what is published: which of a post's facts went into its row, and which should have.
CREATE OR REPLACE TEMPORARY VIEW placed AS
WITH near AS (
  SELECT f.*, coalesce(f.offset < c.next, FALSE) AS is_old, t.post_id IS NOT NULL AS is_published,
    get(t.seen[f.topic], 0) AS seen_partition, get(t.seen[f.topic], 1) AS seen_offset
  FROM in_part f
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
      ORDER BY event_type LIKE '%_deleted' DESC, occurred_at DESC, event_id DESC, event_type) AS place,
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
