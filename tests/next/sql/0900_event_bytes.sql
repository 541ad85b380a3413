-- SPDX-License-Identifier: Apache-2.0
-- What the next version adds. The version before goes on beside it: it leaves the column null.
ALTER TABLE safari_events ADD COLUMN payload_bytes BIGINT;
COMMENT ON COLUMN safari_events.payload_bytes IS 'The length of the payload''s JSON as it came';
