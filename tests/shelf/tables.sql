-- SPDX-License-Identifier: Apache-2.0
--
-- What the projection of these tests needs.

CREATE TABLE shelf_places (
    room TEXT,
    number INT,
    width BIGINT,
    material TEXT,
    placeholder BOOLEAN,
    PRIMARY KEY (room, number)
);
CREATE TYPE shelf_mood AS ENUM ('sad', 'glad');
CREATE TABLE shelf_dramas (
    id TEXT PRIMARY KEY,
    title TEXT,
    code TEXT UNIQUE,
    sequel_of TEXT REFERENCES shelf_dramas ON DELETE SET NULL,
    mood shelf_mood,
    tags TEXT[],
    spot POINT,
    price NUMERIC,
    room TEXT,
    number INT,
    saga TEXT,
    FOREIGN KEY (room, number) REFERENCES shelf_places
);
CREATE TABLE shelf_episodes (
    id TEXT PRIMARY KEY,
    drama_id TEXT NOT NULL REFERENCES shelf_dramas ON DELETE CASCADE,
    title TEXT,
    place BIGINT NOT NULL,
    UNIQUE (drama_id, place) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE shelf_props (
    id DOUBLE PRECISION PRIMARY KEY,
    drama_id TEXT REFERENCES shelf_dramas,
    name TEXT
);
CREATE TABLE shelf_lines (
    order_id TEXT,
    place BIGINT,
    item TEXT NOT NULL,
    count INTEGER NOT NULL,
    price NUMERIC(10, 2) NOT NULL,
    tags TEXT[] NOT NULL,
    PRIMARY KEY (order_id, place)
);
CREATE TABLE shelf_log (event_id UUID PRIMARY KEY, drama_id TEXT NOT NULL, at TIMESTAMPTZ);
CREATE TABLE shelf_books (id TEXT PRIMARY KEY, cover TEXT, shut BOOLEAN);
CREATE TABLE shelf_pages (
    book TEXT,
    page TEXT,
    text TEXT,
    shut BOOLEAN,
    PRIMARY KEY (book, page)
);
CREATE TABLE projectionist.state_shelf_book (key UUID PRIMARY KEY, facts BYTEA NOT NULL);
CREATE TABLE projectionist.state_shelf_book_wide (
    key UUID,
    kind INTEGER,
    subkey UUID,
    facts BYTEA NOT NULL,
    PRIMARY KEY (key, kind, subkey)
);
CREATE TABLE projectionist.state_shelf_drama (key UUID PRIMARY KEY, facts BYTEA NOT NULL);
CREATE TABLE projectionist.state_shelf_episode (key UUID PRIMARY KEY, facts BYTEA NOT NULL);
