-- SPDX-License-Identifier: Apache-2.0
--
-- Views of what the tables hold. Each shows its reader what the tables' policies let that reader
-- see.

CREATE VIEW drama_save_conflicts WITH (security_invoker = true) AS
SELECT drama_id, life, base_revision, event_id, revision, user_id, next_event_id, next_revision,
    next_user_id
FROM (
    SELECT drama_id, life, base_revision, event_id, revision, user_id,
        lead(event_id) OVER next AS next_event_id,
        lead(revision) OVER next AS next_revision,
        lead(user_id) OVER next AS next_user_id
    FROM drama_saves
    WHERE base_revision IS NOT NULL
    WINDOW next AS (PARTITION BY drama_id, life, base_revision ORDER BY revision, event_id)
) AS saves
WHERE next_event_id IS NOT NULL;
COMMENT ON VIEW drama_save_conflicts IS
    'Saves that another one came over which was made on the same revision: each with the next';

-- The longest way is found a step at a time over (node, length), which are at most the square of
-- the nodes however many ways there are; one as long as there are nodes goes round a cycle.
CREATE VIEW drama_graph WITH (security_invoker = true) AS
SELECT d.id AS drama_id, g.node, g.level, g.kind, g.character_id, g.episode_id, g.scene_id, g.id,
    g.depends_on, g.rank
FROM dramas AS d
CROSS JOIN LATERAL (
    WITH RECURSIVE nodes (node, level, kind, character_id, episode_id, scene_id, id, owner, named)
    AS MATERIALIZED (
        SELECT 'character:' || c.id, 1, 'character', c.id, NULL::TEXT, NULL::TEXT, c.id,
            NULL::TEXT, NULL::JSONB
        FROM characters AS c WHERE c.drama_id = d.id
        UNION ALL
        SELECT 'episode:' || e.id, 1, 'episode', NULL, e.id, NULL, e.id, NULL, NULL
        FROM episodes AS e WHERE e.drama_id = d.id
        UNION ALL
        SELECT 'scene:' || s.episode_id || '/' || s.id, 2, 'scene', NULL, s.episode_id, s.id, s.id,
            'episode:' || s.episode_id, NULL
        FROM scenes AS s WHERE s.drama_id = d.id
        UNION ALL
        SELECT 'asset:' || a.asset_key,
            CASE a.owner WHEN 'drama' THEN 1 WHEN 'scene' THEN 3 ELSE 2 END, a.owner || '_asset',
            a.character_id, a.episode_id, a.scene_id, a.id,
            CASE a.owner WHEN 'character' THEN 'character:' || a.character_id
                WHEN 'episode' THEN 'episode:' || a.episode_id
                WHEN 'scene' THEN 'scene:' || a.episode_id || '/' || a.scene_id END,
            a.depends_on
        FROM assets AS a WHERE a.drama_id = d.id
    ), edges (node, needs) AS MATERIALIZED (
        SELECT node, owner FROM nodes WHERE owner IS NOT NULL
        UNION
        SELECT n.node, m.node
        FROM nodes AS n
        CROSS JOIN LATERAL jsonb_array_elements_text(n.named) AS depends (id)
        JOIN nodes AS m ON m.id = depends.id AND (m.kind = 'character'
            OR (m.kind = n.kind AND m.owner IS NOT DISTINCT FROM n.owner))
        WHERE jsonb_typeof(n.named) = 'array'
    ), ways (node, length) AS (
        SELECT node, 0 FROM nodes
        UNION
        SELECT e.node, w.length + 1 FROM ways AS w JOIN edges AS e ON e.needs = w.node
        WHERE w.length < (SELECT count(*) FROM nodes)
    )
    SELECT n.node, n.level, n.kind, n.character_id, n.episode_id, n.scene_id, n.id,
        (SELECT coalesce(jsonb_agg(e.needs ORDER BY e.needs), '[]') FROM edges AS e
         WHERE e.node = n.node) AS depends_on,
        (SELECT CASE WHEN max(w.length) < (SELECT count(*) FROM nodes) THEN max(w.length) END
         FROM ways AS w WHERE w.node = n.node) AS rank
    FROM nodes AS n
) AS g;
COMMENT ON VIEW drama_graph IS
    'What is to be made of a drama, and of what each thing depends; ask for one drama_id';
COMMENT ON COLUMN drama_graph.node IS 'Names it within the drama';
COMMENT ON COLUMN drama_graph.level IS
    '1: characters, episodes and the assets of the drama; 2: scenes, the assets of characters and '
    'episodes; 3: the assets of scenes';
COMMENT ON COLUMN drama_graph.depends_on IS
    'The nodes that are made before it: what it belongs to, and those that it names and are there';
COMMENT ON COLUMN drama_graph.rank IS
    'How many are made one after the other before it, at most; NULL on a cycle and behind one';

CREATE VIEW job_tree WITH (security_invoker = true) AS
SELECT d.drama_id, t.job_id, t.job_type, t.status, t.parent_job_id, t.root, t.depth, t.path
FROM (SELECT DISTINCT drama_id FROM jobs) AS d
CROSS JOIN LATERAL (
    WITH RECURSIVE below (job_id, root, depth, path) AS (
        SELECT j.job_id, j.job_id, 0, ARRAY[j.job_id]
        FROM jobs AS j WHERE j.drama_id = d.drama_id AND j.parent_job_id IS NULL
        UNION ALL
        SELECT j.job_id, b.root, b.depth + 1, b.path || j.job_id
        FROM below AS b JOIN jobs AS j ON j.drama_id = d.drama_id AND j.parent_job_id = b.job_id
    ) CYCLE job_id SET is_cycle USING way
    SELECT j.job_id, j.job_type, j.status, j.parent_job_id, b.root, b.depth, b.path
    FROM jobs AS j LEFT JOIN below AS b ON b.job_id = j.job_id AND NOT b.is_cycle
    WHERE j.drama_id = d.drama_id
) AS t;
COMMENT ON VIEW job_tree IS
    'Jobs with the one at the top; of those on a ring, and below one, root, depth and path are NULL';
COMMENT ON COLUMN job_tree.path IS 'From the root to the job itself';

CREATE VIEW users_overdrawn WITH (security_invoker = true) AS
SELECT id, email, display_name, tokens, entries FROM users WHERE tokens < 0;
COMMENT ON VIEW users_overdrawn IS 'Accounts that spent more than they were granted';

CREATE VIEW drama_costs WITH (security_invoker = true) AS
SELECT drama_id, user_id, count(*) AS entries, -sum(delta) AS tokens, min(emitted_at) AS first_at,
    max(emitted_at) AS last_at
FROM token_ledger WHERE drama_id IS NOT NULL GROUP BY drama_id, user_id;
COMMENT ON VIEW drama_costs IS 'What was spent for each drama, less what was given back';
