-- What docs/counting.md (trending and rising) makes of the records: both rankings, as of what went into them.
-- It reads `in_part`, the records of the posts that are judged (judge.sql), and
--   boards(board, topic, partition, next, window_end)
--          one row a fact partition and board. The topic 'births' is `posts` too, as far as its creations begin a first hour that counts
--   weights(like_weight, comment_weight, top)

CREATE OR REPLACE TEMPORARY VIEW ranked AS
WITH hours AS (
  SELECT *, window_end - INTERVAL 1 HOUR AS window_start,
    date_trunc('HOUR', window_end - INTERVAL 1 MINUTE) - INTERVAL 1 HOUR AS judged_from
  FROM boards
),
-- Times of facts sort as text.
near AS (
  SELECT b.board, b.window_start, b.window_end, b.judged_from, f.*, try_cast(f.occurred_at AS TIMESTAMP) AS moment
  FROM in_part f JOIN hours b ON f.topic = b.topic AND f.partition = b.partition AND f.offset < b.next
  WHERE f.reason IS NULL AND (f.topic = 'posts' OR f.occurred_at >= date_format(b.judged_from, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"))
),
-- Rule 4, for all posts that were ever created.
authors AS (
  SELECT board, post_id, user_id, max(event_type = 'post_deleted') AS is_deleted,
    min(CASE WHEN event_type = 'post_created' THEN struct(occurred_at, event_id, image_url, caption, moment) END) AS own
  FROM near WHERE topic = 'posts' GROUP BY board, post_id, user_id
),
posts AS (
  SELECT board, post_id, min(struct(own, user_id, is_deleted)) AS post
  FROM authors WHERE own IS NOT NULL GROUP BY board, post_id
),
living AS (
  SELECT board, post_id, post.user_id AS user_id, post.own.image_url AS image_url, post.own.caption AS caption,
    post.own.moment AS born
  FROM posts WHERE NOT post.is_deleted
),
births AS (
  SELECT DISTINCT b.board, f.post_id, try_cast(f.occurred_at AS TIMESTAMP) AS born
  FROM in_part f JOIN boards b ON f.topic = 'posts' AND b.topic = 'births' AND f.partition = b.partition AND f.offset < b.next
  WHERE f.reason IS NULL AND f.event_type = 'post_created'
),
-- Rules 2 and 3, by the facts that judge: trending from H - 1 hour on, rising from the post's birth on.
judging AS (
  SELECT n.*, l.born FROM near n JOIN living l ON n.board = l.board AND n.post_id = l.post_id
  LEFT JOIN births b ON l.board = b.board AND l.post_id = b.post_id AND l.born = b.born
  WHERE n.topic <> 'posts' AND CASE n.board
    WHEN 'trending' THEN n.moment >= n.judged_from
    ELSE n.moment >= l.born AND b.born >= n.window_start AND b.born < n.window_end END
),
pairs AS (
  SELECT *,
    row_number() OVER (PARTITION BY board, post_id, topic, user_id, comment_id
      ORDER BY event_type = 'comment_deleted' DESC, occurred_at DESC, event_id DESC, event_type) AS place,
    min(CASE WHEN event_type = 'comment_added' THEN moment END)
      OVER (PARTITION BY board, post_id, topic, user_id, comment_id) AS added
  FROM judging
),
standing AS (
  SELECT board, post_id, topic, born, window_start, window_end,
    CASE topic WHEN 'likes' THEN moment ELSE added END AS counts_at
  FROM pairs WHERE place = 1 AND (event_type = 'post_liked' OR (event_type = 'comment_added' AND added IS NOT NULL))
),
sums AS (
  SELECT board, post_id, count_if(topic = 'likes') AS likes, count_if(topic = 'comments') AS comments
  FROM standing
  WHERE CASE board WHEN 'trending' THEN counts_at >= window_start AND counts_at < window_end
                   ELSE counts_at < born + INTERVAL 1 HOUR END
  GROUP BY board, post_id
),
scored AS (
  SELECT s.*, s.likes * w.like_weight + s.comments * w.comment_weight AS score, w.top FROM sums s CROSS JOIN weights w
),
places AS (
  SELECT *, row_number() OVER (PARTITION BY board ORDER BY score DESC, likes DESC, post_id) AS rank
  FROM scored WHERE score > 0
)
SELECT p.board, p.rank, p.post_id, l.user_id, l.image_url, l.caption, p.likes, p.comments, p.score
FROM places p JOIN living l ON p.board = l.board AND p.post_id = l.post_id
WHERE p.rank <= p.top;
