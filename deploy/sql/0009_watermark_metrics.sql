-- SPDX-License-Identifier: Apache-2.0
--
-- Quantiles as exact as the histogram is.

-- Times are whole milliseconds, so the greatest of a bin is what a share of them does not exceed:
-- the bin's upper bound is no time of it, and for a time of 0 ms it is infinitely too many.

CREATE OR REPLACE FUNCTION projectionist.histogram_quantile(
    p_counts BIGINT[], p_share DOUBLE PRECISION, p_min BIGINT, p_max BIGINT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(p_max,
        greatest(p_min, ceil(projectionist.histogram_upper_bound(r.bin))::BIGINT - 1))
    FROM (
        SELECT g.i::INTEGER - 1 AS bin, sum(g.n) OVER (ORDER BY g.i) AS running,
            sum(g.n) OVER () AS total
        FROM unnest(p_counts) WITH ORDINALITY AS g (n, i)
    ) AS r
    WHERE r.total > 0 AND r.running >= ceil(r.total * p_share)
    ORDER BY r.bin
    LIMIT 1
$$;
COMMENT ON FUNCTION projectionist.histogram_quantile IS
    'Milliseconds that the share (0.5, 0.95, …) of the counted times does not exceed, less than 1/8 too many';
