--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: fini_bridge; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA fini_bridge;


--
-- Name: now_ms(); Type: FUNCTION; Schema: fini_bridge; Owner: -
--

CREATE FUNCTION fini_bridge.now_ms() RETURNS bigint
    LANGUAGE sql
    AS $$ SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: conversations; Type: TABLE; Schema: fini_bridge; Owner: -
--

CREATE TABLE fini_bridge.conversations (
    lane bigint NOT NULL,
    generation bigint NOT NULL,
    channel text NOT NULL,
    bot_id text NOT NULL,
    reference text NOT NULL,
    interaction_id text,
    asked_at bigint,
    first_events text DEFAULT '[]'::text NOT NULL,
    first_event_at bigint,
    watermark text,
    answered_at bigint
)
WITH (fillfactor='80');


--
-- Name: lanes; Type: TABLE; Schema: fini_bridge; Owner: -
--

CREATE TABLE fini_bridge.lanes (
    id bigint NOT NULL,
    channel text NOT NULL,
    chat text NOT NULL,
    chat_ref text NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    bot_id text,
    last_turn_at bigint,
    sender_ref text,
    attributes_ref text,
    shared boolean DEFAULT false NOT NULL
)
WITH (fillfactor='70');


--
-- Name: lanes_id_seq; Type: SEQUENCE; Schema: fini_bridge; Owner: -
--

ALTER TABLE fini_bridge.lanes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fini_bridge.lanes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: messages; Type: TABLE; Schema: fini_bridge; Owner: -
--

CREATE TABLE fini_bridge.messages (
    seq bigint NOT NULL,
    id text NOT NULL,
    channel text NOT NULL,
    delivery_key text NOT NULL,
    key_digest bytea NOT NULL,
    lane bigint,
    role text NOT NULL,
    sender text,
    text text,
    user_attributes text,
    bot_id text,
    address text,
    dormant boolean DEFAULT false NOT NULL,
    sort_at bigint,
    received_at bigint NOT NULL,
    waiting_since bigint NOT NULL,
    wait_until bigint,
    state text NOT NULL,
    reason text,
    detail text,
    turn text,
    place bigint,
    ended_at bigint,
    pruned boolean DEFAULT false NOT NULL,
    too_long boolean DEFAULT false NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02');


--
-- Name: messages_seq_seq; Type: SEQUENCE; Schema: fini_bridge; Owner: -
--

ALTER TABLE fini_bridge.messages ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fini_bridge.messages_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: meta; Type: TABLE; Schema: fini_bridge; Owner: -
--

CREATE TABLE fini_bridge.meta (
    key text NOT NULL,
    value bytea NOT NULL
);


--
-- Name: parts; Type: TABLE; Schema: fini_bridge; Owner: -
--

CREATE TABLE fini_bridge.parts (
    seq bigint NOT NULL,
    id text NOT NULL,
    channel text NOT NULL,
    lane bigint NOT NULL,
    turn text NOT NULL,
    reply bigint NOT NULL,
    kind text NOT NULL,
    part text,
    address text,
    answered_at bigint NOT NULL,
    hold_until bigint,
    state text NOT NULL,
    attempts bigint DEFAULT 0 NOT NULL,
    sending_since bigint,
    receipt text,
    reason text,
    detail text,
    sent_at bigint,
    delivered_at bigint
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02');


--
-- Name: parts_seq_seq; Type: SEQUENCE; Schema: fini_bridge; Owner: -
--

ALTER TABLE fini_bridge.parts ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fini_bridge.parts_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: refinery_schema_history; Type: TABLE; Schema: fini_bridge; Owner: -
--

CREATE TABLE fini_bridge.refinery_schema_history (
    version integer NOT NULL,
    name text,
    applied_on text,
    checksum text
);


--
-- Name: schedule; Type: TABLE; Schema: fini_bridge; Owner: -
--

CREATE TABLE fini_bridge.schedule (
    lane bigint NOT NULL,
    work text NOT NULL,
    channel text NOT NULL,
    due_at bigint,
    owner text,
    fence bigint DEFAULT 0 NOT NULL,
    woken boolean DEFAULT false NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_cost_delay='0');


--
-- Name: turns; Type: TABLE; Schema: fini_bridge; Owner: -
--

CREATE TABLE fini_bridge.turns (
    id text NOT NULL,
    lane bigint NOT NULL,
    generation bigint NOT NULL,
    bot_id text NOT NULL,
    role text NOT NULL,
    content text,
    user_attributes text,
    address text,
    received_at bigint NOT NULL,
    begun_at bigint NOT NULL,
    state text NOT NULL,
    asked bigint DEFAULT 0 NOT NULL,
    asked_at bigint,
    unknown_since bigint,
    answered boolean DEFAULT false NOT NULL,
    looks bigint DEFAULT 0 NOT NULL,
    reason text,
    detail text,
    ended_at bigint,
    event_kinds text DEFAULT '[]'::text NOT NULL,
    pruned boolean DEFAULT false NOT NULL,
    channel text,
    sender_ref text
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02');


--
-- Data for Name: conversations; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.conversations VALUES (4, 1, 'telegram', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'dcb54fd696141f780cec77c18fee8c11', 'ebddb28c-b1d3-400d-ab1e-f329fe98c452', 1795631957240, '["f246dd4c-25a1-4331-817c-ce118fe5b700","e8b29a03-aaa1-4d44-a415-9678c721fe2c"]', 1795631957265, 'e8b29a03-aaa1-4d44-a415-9678c721fe2c', 1795631957269);
INSERT INTO fini_bridge.conversations VALUES (1, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '102b5cec677c02b9b895d39e7d2ff664', '7fa50576-8e44-4918-bc4c-50f6e17e3890', 1795631947104, '["d9abd113-f689-4d73-97f0-3a102967877e","777eab78-972c-437d-a090-c7684f7fca93"]', 1795631947114, '777eab78-972c-437d-a090-c7684f7fca93', 1795631947116);
INSERT INTO fini_bridge.conversations VALUES (14, 1, 'shop', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '1cabae914c21e84d6fab11c2a91cbbed', '4e300ace-3b22-4a01-b3d1-b6c4e05b18e7', 1795631957957, '["52f79775-183d-4e7d-b72f-8d33c042d6ea","83be9020-b1a3-41d8-b817-42f8e0873899"]', 1795631957964, '83be9020-b1a3-41d8-b817-42f8e0873899', 1795631957967);
INSERT INTO fini_bridge.conversations VALUES (15, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'd3d5656d064e0bcf8a2b06833dc67d79', 'b50f8ac0-f7af-4853-8961-e3605766fa2b', 1795631958024, '[]', 1795631958032, 'f38ea6ba-ce23-4a4d-a6b2-cd7998bb9863', 1795631962677);
INSERT INTO fini_bridge.conversations VALUES (5, 1, 'whatsapp', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '64516c6859d7a61f86fb40f671267721', 'dab2db13-9427-4be3-afa4-a6cf6fc59e8e', 1795631957243, '["8a26fe45-2076-4109-a9c7-bfe72416422e","c74997ec-01c7-44d1-8d61-daa0a7b32399"]', 1795631957251, 'c74997ec-01c7-44d1-8d61-daa0a7b32399', 1795631957254);
INSERT INTO fini_bridge.conversations VALUES (3, 1, 'slack', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'c17f3670aefc99e85971b7ebecce7919', '9b958458-5f15-40fa-ae80-3aa4a0712bda', 1795631957232, '["ae085961-b413-4cbc-b144-2797459352e0","16d1d7a7-6f92-4e60-8335-629962853f20"]', 1795631957246, '16d1d7a7-6f92-4e60-8335-629962853f20', 1795631957250);
INSERT INTO fini_bridge.conversations VALUES (2, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'bcbc0cbe7dd4287f8a1a396ad76a7bce', '9a0b2a59-90d9-444a-8bda-0d23585fc0e5', 1795631957207, '["9c0e2f15-c041-4c83-ace3-cc89b4d091f1","b20b1649-3f1b-4c93-8372-bf8cf0e06f8a"]', 1795631957212, 'b20b1649-3f1b-4c93-8372-bf8cf0e06f8a', 1795631957215);
INSERT INTO fini_bridge.conversations VALUES (10, 1, 'team', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '6b81def11522d8b0cfc593ad04c6d3f2', '8a32da79-2a5b-4a7e-bc7a-ee91d0e1310b', 1795631957343, '["19f51e55-4fee-43d7-8051-05efdcb5d41a","9951eb5b-0036-44d7-b28d-08def64ca62d"]', 1795631957358, '630fd84e-8120-41d8-a493-c919d4a8bbd3', 1795631957360);
INSERT INTO fini_bridge.conversations VALUES (11, 1, 'limited', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '61497440c498cd4ea0c21da5ade87a8a', 'e220c89a-fdb2-4606-972e-b8412596e870', 1795631957352, '["6ec9ee4a-fc61-428b-a18a-79719649ffdd","817889b9-6562-4ba6-84f3-e32d6b1c1f31"]', 1795631957361, '83ec2091-363d-4225-9600-fd611e1bab23', 1795631957363);
INSERT INTO fini_bridge.conversations VALUES (13, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '46eae74682d7522718addf63fd2dad85', NULL, 1795631957900, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (9, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '87e74bac63d24ff80c1a5f733e513295', '62d18902-02b2-4e89-8dab-0cbeaf85e4fe', 1795631957310, '["47155f55-2a7a-4897-a98b-63b9c2d97aca","92790282-4aba-43a3-8995-291798062a6b"]', 1795631957323, '92790282-4aba-43a3-8995-291798062a6b', 1795631957326);
INSERT INTO fini_bridge.conversations VALUES (7, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '958d53ce05e109880964a51998e0be22', 'fa943cd0-c0a1-45d5-bb51-a58bc22e792d', 1795631957296, '["42a8235a-36ad-4f37-8536-f0a60cd2171b","10841d34-94f6-42de-b775-4a4a4bb126b8"]', 1795631957309, '10841d34-94f6-42de-b775-4a4a4bb126b8', 1795631957311);
INSERT INTO fini_bridge.conversations VALUES (8, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'cb591122037ef63991dc92af5e126b3e', 'fa87a8c9-f100-47e4-8873-e9980328cdb1', 1795631957303, '["3dfb769f-11db-46e0-a83f-602b4f3e5b03","9720f12b-fe45-4f64-bc54-489a39a76e07"]', 1795631957309, '9720f12b-fe45-4f64-bc54-489a39a76e07', 1795631957323);
INSERT INTO fini_bridge.conversations VALUES (6, 1, 'shop', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '7f2a473e419e118a4fae5b17484112df', '60bb5c75-04d2-464f-9a2b-54ead1578fae', 1795631957261, '["bba692bc-f802-4bf2-ae7c-80835e7885b7","c9a96786-fa60-400d-ad8c-c74c10b5d1a6"]', 1795631957270, 'c9a96786-fa60-400d-ad8c-c74c10b5d1a6', 1795631957274);
INSERT INTO fini_bridge.conversations VALUES (20, 1, 'shop', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'a554c260755b806268be81ea81c0215a', NULL, 1795631973234, '["8038f190-f7e6-4a68-a05e-ddb57d8c997c","90cb01e3-ad61-4d2b-a034-c259f14b0ed0"]', 1795631973237, '90cb01e3-ad61-4d2b-a034-c259f14b0ed0', 1795631973240);
INSERT INTO fini_bridge.conversations VALUES (16, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '56c0b7d2fd743ec8e9bd6ebc3c8d169c', 'ab14abd5-418c-4b46-ab48-a13e33494ede', 1795631958021, '[]', 1795631958034, '42da5742-dd56-49b8-aa18-9bdc7ee9d571', 1795631962678);
INSERT INTO fini_bridge.conversations VALUES (17, 1, 'careful', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '80ad36dc07998a6b9522585e3b4a06dc', '83367464-6c77-4061-a67a-8a76d100e2c8', 1795631958024, '["725ddba3-51be-4c36-9e78-cd1e552c927e","a1aff975-265d-43a0-8936-4d4eebc6781f"]', 1795631958034, 'a1aff975-265d-43a0-8936-4d4eebc6781f', 1795631958037);
INSERT INTO fini_bridge.conversations VALUES (18, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '0c43a4a81c446720c02454ff2fcb6d24', NULL, 1795631973178, '["eb9853eb-37e5-48d0-a716-052f66f03bb9","c4febb4c-a6c9-4d66-93c1-8016bf9a9419"]', 1795631973183, 'c4febb4c-a6c9-4d66-93c1-8016bf9a9419', 1795631973185);
INSERT INTO fini_bridge.conversations VALUES (19, 1, 'careful', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '19cb9942c5772146a64751f727b68a65', NULL, 1795631973226, '["85accb7f-c391-4c30-88ad-88b1c5aac88f","5a8d1f46-7066-4beb-b816-ae6060045cfe"]', 1795631973231, '5a8d1f46-7066-4beb-b816-ae6060045cfe', 1795631973234);
INSERT INTO fini_bridge.conversations VALUES (21, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'c17d0ce12b19a26d0ca820c0b3ffd3c5', NULL, 1795631973297, '["dd6e6bac-5c6c-45df-8908-b35db55dcfbc","2da7aca0-7de9-4710-9e83-e1cdfb2dbbab"]', 1795631973302, '2da7aca0-7de9-4710-9e83-e1cdfb2dbbab', 1795631973304);
INSERT INTO fini_bridge.conversations VALUES (22, 1, 'shop', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'a64f746b88baf384b8869effa2127bf5', NULL, 1795631973342, '["1678d988-e6f2-417f-833a-35d212454a99","49e956e6-a18a-4787-95f2-69bee5b605de"]', 1795631973347, '49e956e6-a18a-4787-95f2-69bee5b605de', 1795631973349);
INSERT INTO fini_bridge.conversations VALUES (23, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '2db24650b24dbbf8b13958414d3274ba', NULL, 1795631973385, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (24, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '7b727896a1efdf0875ec6be2dc874922', NULL, 1795631973473, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (25, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '92a65ba80e60c342d7e5c5a5720f36dd', NULL, 1795631973513, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (26, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '178547480a3ecbb8e209893d6cb94b5a', NULL, 1795631973563, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (31, 1, 'throttled', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '6f2f122a8a3b7f6e0db16eabdb7235fc', NULL, 1795631973660, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (33, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '5b525a4857de200a852301684fffff23', NULL, 1795631973703, '["d914812c-b618-4f1b-8add-97e5414bc399","6cffbab3-6bfe-40cc-a994-2b346bf0edf3"]', 1795631973705, '6cffbab3-6bfe-40cc-a994-2b346bf0edf3', 1795631973708);
INSERT INTO fini_bridge.conversations VALUES (27, 1, 'whatsapp', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'a3155760aa1a100a6e31a72e040e1f0a', NULL, 1795631973589, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (28, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '63f335408652bb71861b31cacec1b13a', NULL, 1795631973615, '[]', NULL, NULL, NULL);


--
-- Data for Name: lanes; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (1, 'bridge', 'long-ago', 'ce7e3e1a7ba06b98593d4383c4db66b1', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631947116, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (9, 'bridge', 'begun-anew', 'deea71f0f594a5215a9869211d8fda54', 2, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957882, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (16, 'bridge', 'given-up', '75abd32d4c03a6a7e367ebe7b97e0468', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631962678, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (2, 'bridge', 'greeted', 'd03ecf2bff5d237957d457ca6e40f495', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957215, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (13, 'bridge', 'rejected-question', 'b6d6672981b9d881e13c11712be481a0', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957912, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (28, 'bridge', 'waited-asking', '3f659855d50ecfcbfe54679f7bb07725', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973615, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (14, 'shop', 'refused-answer', 'b9e3dd8c578c7c230ad7611781b048f0', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957967, NULL, '7768ec563d0ce6604a2733b677a3b9de', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (10, 'team', 'shared-room', '4b8104a4447f0194997e6c1f4bdc270b', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957786, '02302c848c7fb74bc79d655c7e996fe1', '45c89ecd4acd53de7ee0b8d3d7fec414', true);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (5, 'whatsapp', '106540352242922:16505550001', 'b03113a31b8bff25785d729b89182e13', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957254, '33d6323504f1a040ad2c6bc3e8f694f1', '4d9c570fe0a10e2251ee04ba09d0d706', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (3, 'slack', 'T00FAKE00AA:D00ANSWERED1', '2d36d9d0f31af9fde7cd1def5ff69dbc', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957250, 'f1ca437e77c1ce4892f2efe8d022412f', '07e9f26e91e44a34c7e3cd8f08d7d303', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (11, 'limited', 'talkative', 'cb2144e0ff3cbc5f879a1f32e1d74026', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957833, NULL, '4aa02b205800c75f10c8726b2786a367', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (4, 'telegram', '5000001', 'd691878edba5be3f6bf19eed44c39b0f', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957269, '7f4333c19976c4981339db5910e43e29', 'fc733967c03091727ef72482608ce09f', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (6, 'shop', 'served', 'c768b6353e5d7524537e6c14000f19af', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631957274, NULL, '7768ec563d0ce6604a2733b677a3b9de', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (18, 'bridge', 'undiscovered', '3afe3e22d18ecd691bb09fa116880d56', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973185, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (25, 'bridge', 'open-first', 'c736a9821ca5135334ea3df463a94fe3', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973513, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (8, 'bridge', 'open-later', '641fda51070a1eb05bdb3ae83937e5eb', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973537, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (12, 'bridge', 'blank', 'e81122ae070447d297b12b9a6ccc0c9e', 0, NULL, 1795631957882, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (26, 'bridge', 'open-nothing', 'cb524f67e67743823510a3c10aa153e4', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973563, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (17, 'careful', 'held-answer', 'b5c75324deb67ac836bf81cda788717a', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631958037, NULL, '6de2a426063fdd5f45bfad0845c2d0bd', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (15, 'bridge', 'held-question', '2cc17839911d09f295f07329c83d7143', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631962677, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (19, 'careful', 'half-delivered', '3bb5c7fc9d1ba91453728463b7a4e1e2', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973234, NULL, '6de2a426063fdd5f45bfad0845c2d0bd', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (20, 'shop', 'not-delivered', '8d1245a9d3c9bbcc0ddab6b011ab12f9', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973240, NULL, '7768ec563d0ce6604a2733b677a3b9de', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (7, 'bridge', 'unknown-later', '9a9623dd965a8dbbcf6d56db5baacf66', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973427, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (27, 'whatsapp', '106540352242922:16505550002', '9059bea684a5515cae2fe3e4fa8234bc', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973589, 'c28ed0cbf41e3dc497e823e4e16b8b3e', '4d9c570fe0a10e2251ee04ba09d0d706', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (29, 'off', 'switched-off', '2019ffea697f6c2a4a7c005aa0a869ab', 0, NULL, NULL, NULL, 'b25f9572995877d4be73b39e8399335e', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (21, 'bridge', 'being-sent', '62ad3d1e018e059c5cd87e11eff12532', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973304, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (22, 'shop', 'in-the-air', '7682171fce25fce369a4d021fc9f887b', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973349, NULL, '7768ec563d0ce6604a2733b677a3b9de', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (23, 'bridge', 'unknown-first', '9512754f64d9754bfb5f6d24a12386ac', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973385, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (24, 'bridge', 'unknown-nothing', 'ec0b12246bca1ab4e8c21d16fd20edcf', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973473, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (31, 'throttled', 'throttled-chat', 'fc9a64bf6b267830f4ff8eb8a5951575', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973660, NULL, 'f24d89f282b38f6422de53c45dde5b94', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (30, 'merging', 'still-merging', '3462e5102d232f254277106d54b069e2', 0, NULL, NULL, NULL, 'cfa11e0025551d03c93daf0639520d3d', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (32, 'throttled', 'not-begun', 'b270b2843faf85158418f0db0185391c', 0, NULL, NULL, NULL, 'f24d89f282b38f6422de53c45dde5b94', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (33, 'bridge', 'waited-answered', '41abdbdd89c6ea44a2999fad872911f7', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795631973708, NULL, 'fe33b8c754b5dbd4abe43742069de187', false);


--
-- Data for Name: messages; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (1, '01a21401-1d3f-7167-aa51-69ae9723c0ab', 'bridge', 'long-ago-1', '\x0b934d7a5a95265d0a83866202825cc761cd3fcf9fdaa9eb22e2e925f67edf4b', 1, 'user', NULL, NULL, NULL, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', NULL, false, NULL, 1795631947082, 1795631947082, NULL, 'done', NULL, NULL, '01a21401-1d57-75b0-a571-fe03d5bd50a4', 0, 1795631947135, true, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (2, '01a21401-44b8-7272-b54d-9d8883fe5ea6', 'bridge', 'greeted-1', '\x310b9f723507b0054504fbc2f138b0e3a6bde47d0de6c982beeb5739cb933197', 2, 'user', NULL, 'greeted: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"greeted"}', false, NULL, 1795631957187, 1795631957187, NULL, 'done', NULL, NULL, '01a21401-44d5-70dd-a324-235dfaee0058', 0, 1795631957262, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (3, '01a21401-44ce-7437-bfac-09d2477aafac', 'slack', 'T00FAKE00AA:D00ANSWERED1:1795631957.000001', '\x42a6c583d75dce6f967c972b7de2122b3ec9977a3b1e3146cc323068854fe20b', 3, 'user', 'U00FAKEUSER1', 'D00ANSWERED1: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"channel":"D00ANSWERED1","thread_ts":null}', false, 1795631957000, 1795631957198, 1795631957198, NULL, 'done', NULL, NULL, '01a21401-44e8-76a4-a0b5-37b999eea084', 0, 1795631957304, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (5, '01a21401-44e7-7243-91d1-458cc9c336e1', 'whatsapp', 'wamid.16505550001.1', '\x2a4b578ff253c664c9b5e898e32ea82a8fe48557ac2d2f6d1af3403f0c0324bf', 5, 'user', '16505550001', '16505550001: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"message_id":"wamid.16505550001.1","to":"16505550001"}', false, 1795631957000, 1795631957224, 1795631957224, NULL, 'done', NULL, NULL, '01a21401-44f7-720c-8a60-2d2af0ca4156', 0, 1795631957311, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (6, '01a21401-44f2-7371-a7d7-fc86888ba797', 'shop', 'served-1', '\xdd7ae9e8cd8fa0879afa5dc43ad58f8fd4c7f65600c610e5c3b7b3f2c34de222', 6, 'user', NULL, 'served: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"served","id":"served-1"}', false, NULL, 1795631957234, 1795631957234, NULL, 'done', NULL, NULL, '01a21401-4505-73de-99a1-4d3d331e175a', 0, 1795631957319, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (4, '01a21401-44d9-73ad-b3d4-5b9fa071e900', 'telegram', '5000001:1', '\xde21cac5721dea12c213aaccf12163f831a6e98cb23859319bbd36fda1b43f70', 4, 'user', '5000001', '5000001: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat_id":5000001}', false, NULL, 1795631957210, 1795631957210, NULL, 'done', NULL, NULL, '01a21401-44f0-73c1-adc8-8500323126c1', 0, 1795631957343, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (7, '01a21401-44ff-7081-8f71-32d10a669553', 'bridge', 'unknown-later-1', '\xbdff00ac2911a5d5f6f7cc3daf28ee656da8271e6a3636f9d87049b9d6822774', 7, 'user', NULL, 'unknown-later: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"unknown-later"}', false, NULL, 1795631957248, 1795631957248, NULL, 'done', NULL, NULL, '01a21401-4527-7558-99d1-b7fd1f173852', 0, 1795631957364, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (9, '01a21401-4523-7325-a8ca-eae9b9c5c7f8', 'bridge', 'begun-anew-1', '\x0d4b510c4ee38dbbdbf1cc22f39c9d78e35d6c944cd8d48ed8af214145ea54c7', 9, 'user', NULL, 'begun-anew: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"begun-anew"}', false, NULL, 1795631957284, 1795631957284, NULL, 'done', NULL, NULL, '01a21401-4533-740b-b110-34084a6e4e39', 0, 1795631957383, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (11, '01a21401-4542-777d-bdaa-6f918aeb7401', 'limited', 'talkative-1', '\x43e27781d29f9257a4186c14ba426a86ae91c2bb9699bcc7c714c6f85be50e15', 11, 'user', NULL, 'talkative: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"talkative"}', false, NULL, 1795631957315, 1795631957315, NULL, 'done', NULL, NULL, '01a21401-4557-74f9-9010-1af62ef35290', 0, 1795631957390, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (12, '01a21401-4703-7541-b41b-c21116696283', 'team', 'shared-room-2', '\xcf397fc8d380fe547557a25655a3e5d7492adf1d66c2e4ca2be9dd74da30ffbf', 10, 'user', 'person-2', 'shared-room: question 2', '{"email":"person-2@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"shared-room","id":"shared-room-2"}', false, NULL, 1795631957767, 1795631957767, NULL, 'done', NULL, NULL, '01a21401-470e-71cd-bfdc-18327081179e', 0, 1795631957805, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (13, '01a21401-4736-740d-b3e9-aba3d07d6e21', 'limited', 'talkative-2', '\x90480dd4515111e2c0c88e236bd61aceaeae711b8fb1c3950d98347496982360', 11, 'user', NULL, 'talkative: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"talkative"}', false, NULL, 1795631957814, 1795631957814, NULL, 'done', NULL, NULL, '01a21401-473f-74a4-bc3b-97567b01c356', 0, 1795631957848, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (16, '01a21401-4774-701a-91b1-1fa218b9b053', 'shop', 'body:adb2c07b02b8b7fd615243e7491aa9e1316de2bef1b4738744a8245a27904352:0', '\x65db6b1a3e5040dfff33a9d0a3de50d99e3e3f2e626ed9d339cc27a0d7dc9b00', NULL, 'user', NULL, '{"id":"unreadable"}', NULL, NULL, NULL, false, NULL, 1795631957877, 1795631957877, NULL, 'failed', 'malformed', 'inbound.when: undefined', NULL, NULL, 1795631957877, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (15, '01a21401-4770-7566-b098-5bd94ee92057', 'bridge', 'blank-1', '\x2fcb1ea3e3fd9c7aefeb9cf0f108b92ebd7064492a97cd6f08a2e5acd4e3f595', 12, 'user', NULL, ' ', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"blank"}', false, NULL, 1795631957873, 1795631957873, NULL, 'dropped', 'blank', NULL, '01a21401-4779-73e1-8eec-bea26bb962cd', 0, 1795631957882, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (14, '01a21401-476d-7148-89c9-2022d9ae0fa2', 'bridge', 'begun-anew-2', '\xb6d795811a5d54dbef6609fba1c8ac5c29ff87161dcb48ce84ee7839c00febab', 9, 'user', NULL, 'reset', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"begun-anew"}', false, NULL, 1795631957870, 1795631957870, NULL, 'dropped', 'reset', NULL, '01a21401-4779-73e1-8eec-bea03381a17f', 0, 1795631957882, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (17, '01a21401-4776-7060-be97-9f7e3710efa1', 'bridge', 'rejected-question-1', '\x7c5bbce76eb63f26694103a4a4cae150a42ca2cf82f6773ec9053885aaee2189', 13, 'user', NULL, 'rejected-question: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"rejected-question"}', false, NULL, 1795631957879, 1795631957879, NULL, 'failed', 'fini_400', 'simulated fault', '01a21401-4787-76ab-944e-e9c3125c5e88', 0, 1795631957912, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (19, '01a21401-47f3-759a-af33-f2fc93f5e6e1', 'bridge', 'held-question-1', '\xe32d2396c9a2c31c760287284275cd472bd54bc78a280e386a059e3e91f96e73', 15, 'user', NULL, 'held-question: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"held-question"}', false, NULL, 1795631958008, 1795631958008, NULL, 'held', 'stored_not_answered', 'Fini has the message but gave no answer within fini.settle.', '01a21401-4806-7476-aadf-927c96f678b3', 0, 1795631962677, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (20, '01a21401-47fb-71ec-8993-47c521d65503', 'bridge', 'given-up-1', '\x2623cc1eb6ce3ff4fac338bb4d4d00206d25499816081a192e978d254c3ad83a', 16, 'user', NULL, 'given-up: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"given-up"}', false, NULL, 1795631958011, 1795631958011, NULL, 'dropped', 'discarded', 'Fini has the message but gave no answer within fini.settle.', '01a21401-4801-76b4-a0a0-5a32bc8642f6', 0, 1795631962678, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (10, '01a21401-4536-76c3-9de0-272c042a81df', 'team', 'shared-room-1', '\xba036511bc3631b622f514fe0eb1036097b1b78673af9f91a768c295f844714e', 10, 'user', 'person-1', 'shared-room: question 1', '{"email":"person-1@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"shared-room","id":"shared-room-1"}', false, NULL, 1795631957303, 1795631957303, NULL, 'done', NULL, NULL, '01a21401-4558-70e9-bfab-7100e72d1497', 0, 1795631957383, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (8, '01a21401-4513-7265-9807-e5bd0cc7998d', 'bridge', 'open-later-1', '\xcbac09971511dcc80d97d7d930875a89664c565bd518d5e7b78469db4b4b522e', 8, 'user', NULL, 'open-later: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-later"}', false, NULL, 1795631957267, 1795631957267, NULL, 'done', NULL, NULL, '01a21401-452f-7488-af56-cece168dcefe', 0, 1795631957387, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (18, '01a21401-47b8-76ec-aac6-c224d37b5535', 'shop', 'refused-answer-1', '\x1eda98e2c8d6b95e576b94aa94c8b229d7d6960e3c6779341638e6f44aa5eb3e', 14, 'user', NULL, 'refused-answer: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"refused-answer","id":"refused-answer-1"}', false, NULL, 1795631957945, 1795631957945, NULL, 'failed', 'http_404', '{}', '01a21401-47c1-73e2-b7a0-fee8297ea7a0', 0, 1795631957988, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (21, '01a21401-47fe-7072-adb7-b283c68471eb', 'careful', 'held-answer-1', '\x97d35635af8202bdbad61e2558820c9a6e913cabeaec37f0ed5d986e7b63f86b', 17, 'user', NULL, 'held-answer: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"held-answer","id":"held-answer-1"}', false, NULL, 1795631958015, 1795631958015, NULL, 'held', 'send_unknown', 'It may have been delivered: timed out.', '01a21401-4805-72a1-884f-f56ad156fc9f', 0, 1795631973064, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (22, '01a21401-8325-7131-9dd4-19d7822db69c', 'bridge', 'undiscovered-1', '\x3ef2f3ce904ec171ae14a1eda4160cf08b0f0494bab936ea1a68fc6a3846c4ed', 18, 'user', NULL, 'undiscovered: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"undiscovered"}', false, NULL, 1795631973163, 1795631973163, NULL, 'done', NULL, NULL, '01a21401-8338-72d8-80e1-3abe2efd25d5', 0, 1795631973198, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (24, '01a21401-8366-70f1-8a84-01d4b3233446', 'shop', 'not-delivered-1', '\x1185a9471def9ae1cda61496bbdf85e3616c450f9dd4ed0197d9f86fe4d68ad2', 20, 'user', NULL, 'not-delivered: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"not-delivered","id":"not-delivered-1"}', false, NULL, 1795631973223, 1795631973223, NULL, 'answered', NULL, NULL, '01a21401-836f-7373-944f-19e7cc78847a', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (23, '01a21401-835f-7350-8bc7-4befa41c2655', 'careful', 'half-delivered-1', '\xecf0eaf0ce71e38a4384e2e8d9d841028a02a9e8e4ead744fdbfbaa8a8291c3e', 19, 'user', NULL, 'half-delivered: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"half-delivered","id":"half-delivered-1"}', false, NULL, 1795631973216, 1795631973216, NULL, 'answered', NULL, NULL, '01a21401-8367-73d7-a773-db2bce5ea46a', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (25, '01a21401-83a5-76f8-a255-7769cf8c7067', 'bridge', 'being-sent-1', '\x7ad42201f07b78a24146107c4fa723e14b65de0770d71e9371e6dacaaf5bd58a', 21, 'user', NULL, 'being-sent: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"being-sent"}', false, NULL, 1795631973288, 1795631973288, NULL, 'answered', NULL, NULL, '01a21401-83af-72bb-bbbb-f824c57511e2', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (28, '01a21401-842c-744d-bb80-58cfd73eaf1b', 'bridge', 'unknown-later-2', '\x05b8a9e05e5847c462df9fcaa4d55026d2b9d89da0b20bff81c9df15c0db3a30', 7, 'user', NULL, 'unknown-later: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"unknown-later"}', false, NULL, 1795631973421, 1795631973421, NULL, 'asking', NULL, NULL, '01a21401-8431-7677-891a-bb085dd4ff16', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (30, '01a21401-8481-76dc-9343-71e2e39c1ca6', 'bridge', 'open-first-1', '\x510d8b9de3d2eb6798742d0845fe062b9ab30f7f2f791b97168ff58cdbed0779', 25, 'user', NULL, 'open-first: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-first"}', false, NULL, 1795631973506, 1795631973506, NULL, 'asking', NULL, NULL, '01a21401-8487-73dd-afd6-20252a00794e', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (31, '01a21401-849b-7340-a7e7-bc83892e817c', 'bridge', 'open-later-2', '\x564501bcad759211a37daddf95de09d9ec17298a2cc198ce1cb66b2fe6b6a7c5', 8, 'user', NULL, 'open-later: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-later"}', false, NULL, 1795631973532, 1795631973532, NULL, 'asking', NULL, NULL, '01a21401-84a0-7631-abac-86a8445aa23c', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (32, '01a21401-84b4-7227-b3ab-145f16dae794', 'bridge', 'open-nothing-1', '\x83a553eafa32dc539976f1f9dd409bfd156778394a2b125e8848e32edb91e53f', 26, 'user', NULL, 'open-nothing: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-nothing"}', false, NULL, 1795631973556, 1795631973556, NULL, 'asking', NULL, NULL, '01a21401-84b9-7124-892d-6faeb5a2176c', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (33, '01a21401-84ce-72b1-95ff-d08fe2d3d16c', 'whatsapp', 'wamid.16505550002.1', '\x3a86c108ea5fa109bda4dbc4632318e70a1b58df154ddb5af6761b3073b7bafa', 27, 'user', '16505550002', '16505550002: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"message_id":"wamid.16505550002.1","to":"16505550002"}', false, 1795631973000, 1795631973583, 1795631973583, NULL, 'asking', NULL, NULL, '01a21401-84d3-733a-89a9-3d2ad77c4202', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (34, '01a21401-84e8-7644-a129-599f60d018bb', 'bridge', 'waited-asking-1', '\xcca089c334c4aaf2c6a05b569b59c131e174fccb6cc525c75351cc7451e61ad6', 28, 'user', NULL, 'waited-asking: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"waited-asking"}', false, NULL, 1795631973609, 1795631973609, 1795631998609, 'asking', NULL, NULL, '01a21401-84ed-74ca-a967-235d6efe81ea', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (35, '01a21401-84ff-7599-86b2-e2060da440b6', 'bridge', 'open-first-2', '\x0150ee136b02fc61aa25bfcc7fc47ba2066462111cbfcf0cd0539a530faae8ae', 25, 'user', NULL, 'open-first: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-first"}', false, NULL, 1795631973632, 1795631973632, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (36, '01a21401-8503-761e-838d-f2b1470f1d96', 'bridge', 'open-first-3', '\x5c86fdef2483d0695dbb5071728bced7fc1026eafd3d1d9f0398ff5b4c1af9bd', 25, 'user', NULL, 'open-first: question 3', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-first"}', false, NULL, 1795631973635, 1795631973635, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (39, '01a21401-850b-7741-a825-35fcaa55f8e2', 'off', 'switched-off-1', '\xeb5c45d2ac27bf8ee9dea7c8fca3c7dd95e37d67f6b5b395f8a57c519976b51b', 29, 'user', NULL, 'switched-off: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"switched-off"}', true, NULL, 1795631973644, 1795631973644, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (26, '01a21401-83d4-7688-8781-394554909be0', 'shop', 'in-the-air-1', '\x9ac93ca242ebf33540be830cde4d4cc4c6f3beb0a417ebce9e5458aed48217a7', 22, 'user', NULL, 'in-the-air: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"in-the-air","id":"in-the-air-1"}', false, NULL, 1795631973333, 1795631973333, NULL, 'answered', NULL, NULL, '01a21401-83db-762e-8a4f-6146a97b995f', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (27, '01a21401-83ff-710c-94df-7bed1c5ac8f4', 'bridge', 'unknown-first-1', '\x5acc5ea5daf7691ba053911481284a0c79b4cd49f00513cb2632698ae9e1a40d', 23, 'user', NULL, 'unknown-first: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"unknown-first"}', false, NULL, 1795631973376, 1795631973376, NULL, 'asking', NULL, NULL, '01a21401-8407-7781-ad34-b130bc011a1b', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (29, '01a21401-8456-71ae-88ed-8677cc883911', 'bridge', 'unknown-nothing-1', '\x45e044dbdd94991dd68b1b567782525ce22e717c1638fb2139c42f8d876cdb7d', 24, 'user', NULL, 'unknown-nothing: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"unknown-nothing"}', false, NULL, 1795631973463, 1795631973463, NULL, 'asking', NULL, NULL, '01a21401-845d-7628-a7c1-a8972d9668b1', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (37, '01a21401-8506-7622-a7a5-0fdd31bf99e0', 'whatsapp', 'wamid.16505550002.3', '\xe9fb048fe7da88bb95618a60a0a4ff64346e90cbde6f15a4d0419da1d20cfe46', 27, 'user', '16505550002', '16505550002: question 3', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"message_id":"wamid.16505550002.3","to":"16505550002"}', false, 1795631973000, 1795631973638, 1795631973638, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (42, '01a21401-8514-77bc-b7b9-160662f226f7', 'throttled', 'throttled-chat-1', '\x70cdeffa451097e48c4d810195b42755e0c132905dc185ef7fdce185c3d1b0c6', 31, 'user', NULL, 'throttled-chat: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"throttled-chat"}', false, NULL, 1795631973652, 1795631973652, NULL, 'asking', NULL, NULL, '01a21401-851a-749e-9923-aeb48dcc56f6', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (38, '01a21401-8508-704f-98b2-204ac7e37884', 'whatsapp', 'wamid.16505550002.2', '\xd9b9b88bd5f65df949e0f55c263769eaa7046d435ffcb5b4f7153caba152fdfd', 27, 'user', '16505550002', '16505550002: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"message_id":"wamid.16505550002.2","to":"16505550002"}', false, 1795631968000, 1795631973641, 1795631973641, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (40, '01a21401-850e-70a1-944c-8728b209a2f6', 'merging', 'still-merging-1', '\x8823ad09cb560006f2a44b3f9044ac475da5fb490867203f94ee97d07ab68d58', 30, 'user', NULL, 'still-merging: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"still-merging"}', false, NULL, 1795631973647, 1795631973647, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (43, '01a21401-853d-7081-a4b3-299d2cbc181d', 'throttled', 'not-begun-1', '\xdf8efdc71e3c6d029c5d2a2c60203b21ea5ebb9ea77fc51680af362568c536a7', 32, 'user', NULL, 'not-begun: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"not-begun"}', false, NULL, 1795631973693, 1795631973693, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (41, '01a21401-8511-7692-9779-4a85dc4c743d', 'merging', 'still-merging-2', '\xd0ba518fc33684bf630793e508c32e81f4849bba9230a8b7c593aad993b3d614', 30, 'user', NULL, 'still-merging: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"still-merging"}', false, NULL, 1795631973650, 1795631973650, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (44, '01a21401-8540-72f1-8b55-0d5695eeef17', 'bridge', 'waited-answered-1', '\x3bf211bc767d5de9ec3a327b4891cf78716f6ed9e6933c378459221134aee46c', 33, 'user', NULL, 'waited-answered: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"waited-answered"}', false, NULL, 1795631973697, 1795631973697, 1795631998697, 'answered', NULL, NULL, '01a21401-8545-75e3-a768-b3ca0a50326f', 0, NULL, false, false);


--
-- Data for Name: meta; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.meta VALUES ('installation_key', '\x9a174348b4325cf9cb7f2a2bc40a57cba9e4092cb536b919b7ae75009890a2e3');


--
-- Data for Name: parts; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (1, '01a21401-1d6b-7466-91e9-3cfdfa03efa8', 'bridge', 1, '01a21401-1d57-75b0-a571-fe03d5bd50a4', 0, 'message', NULL, NULL, 1795631947116, NULL, 'sent', 1, 1795631947133, NULL, NULL, NULL, 1795631947135, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (5, '01a21401-4514-7477-b598-6d7e17593687', 'telegram', 4, '01a21401-44f0-73c1-adc8-8500323126c1', 0, 'message', '{"html":"Re: 5000001: question 1","plain":"Re: 5000001: question 1"}', '{"chat_id":5000001}', 1795631957269, NULL, 'sent', 1, 1795631957333, '12', NULL, NULL, 1795631957343, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (2, '01a21401-44dd-761f-a486-7467cfdf94f2', 'bridge', 2, '01a21401-44d5-70dd-a324-235dfaee0058', 0, 'message', '{"in_reply_to":["greeted-1"],"text":"Re: greeted: question 1","type":"message"}', '{"chat":"greeted"}', 1795631957215, NULL, 'sent', 1, 1795631957254, NULL, NULL, NULL, 1795631957262, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (3, '01a21401-4501-7452-aedb-a9551526ce5b', 'slack', 3, '01a21401-44e8-76a4-a0b5-37b999eea084', 0, 'message', '"Re: D00ANSWERED1: question 1"', '{"channel":"D00ANSWERED1","thread_ts":null}', 1795631957250, NULL, 'sent', 1, 1795631957292, '1790000000.000009', NULL, NULL, 1795631957304, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (4, '01a21401-4506-7780-a358-df1dc7edbcb3', 'whatsapp', 5, '01a21401-44f7-720c-8a60-2d2af0ca4156', 0, 'message', '"Re: 16505550001: question 1"', '{"message_id":"wamid.16505550001.1","to":"16505550001"}', 1795631957254, NULL, 'sent', 1, 1795631957305, 'wamid.SENT10', NULL, NULL, 1795631957311, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (6, '01a21401-4519-77e4-90cb-5f2f2e0fdd8b', 'shop', 6, '01a21401-4505-73de-99a1-4d3d331e175a', 0, 'message', '{"text":"Re: served: question 1"}', '{"chat":"served","id":"served-1"}', 1795631957274, NULL, 'sent', 1, 1795631957316, NULL, NULL, NULL, 1795631957319, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (7, '01a21401-453e-77d4-8d24-5a6cb9e278d3', 'bridge', 7, '01a21401-4527-7558-99d1-b7fd1f173852', 0, 'message', '{"in_reply_to":["unknown-later-1"],"text":"Re: unknown-later: question 1","type":"message"}', '{"chat":"unknown-later"}', 1795631957311, NULL, 'sent', 1, 1795631957361, NULL, NULL, NULL, 1795631957364, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (15, '01a21401-4779-73e1-8eec-bea1df37ca27', 'bridge', 9, '01a21401-4779-73e1-8eec-bea03381a17f', 0, 'no_reply', '{"in_reply_to":["begun-anew-2"],"type":"no_reply"}', '{"chat":"begun-anew"}', 1795631957882, NULL, 'sent', 1, 1795631957892, NULL, NULL, NULL, 1795631957897, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (21, '01a21401-5a35-744c-9344-82c6295a130d', 'bridge', 16, '01a21401-4801-76b4-a0a0-5a32bc8642f6', 0, 'failed', '{"in_reply_to":["given-up-1"],"type":"failed"}', '{"chat":"given-up"}', 1795631962678, NULL, 'sent', 1, 1795631962692, NULL, NULL, NULL, 1795631962693, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (8, '01a21401-453e-77d4-8d24-5a6dfeed967f', 'bridge', 8, '01a21401-452f-7488-af56-cece168dcefe', 0, 'message', '{"in_reply_to":["open-later-1"],"text":"Re: open-later: question 1","type":"message"}', '{"chat":"open-later"}', 1795631957323, NULL, 'sent', 1, 1795631957381, NULL, NULL, NULL, 1795631957387, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (13, '01a21401-4748-73d2-b70c-3093010e5b1d', 'limited', 11, '01a21401-473f-74a4-bc3b-97567b01c356', 0, 'message', '{"in_reply_to":["talkative-2"],"text":"Re: talkative: question 2","type":"message"}', '{"chat":"talkative"}', 1795631957833, NULL, 'sent', 1, 1795631957844, NULL, NULL, NULL, 1795631957848, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (14, '01a21401-4779-73e1-8eec-bea3bc72e7de', 'bridge', 12, '01a21401-4779-73e1-8eec-bea26bb962cd', 0, 'no_reply', '{"in_reply_to":["blank-1"],"type":"no_reply"}', '{"chat":"blank"}', 1795631957882, NULL, 'sent', 1, 1795631957895, NULL, NULL, NULL, 1795631957897, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (17, '01a21401-47ce-7371-8c54-15923e75cfa8', 'shop', 14, '01a21401-47c1-73e2-b7a0-fee8297ea7a0', 0, 'message', '{"text":"Re: refused-answer: question 1"}', '{"chat":"refused-answer","id":"refused-answer-1"}', 1795631957967, NULL, 'failed', 1, 1795631957986, NULL, 'http_404', '{}', NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (20, '01a21401-5a35-744c-9344-82c5503f9e8e', 'bridge', 15, '01a21401-4806-7476-aadf-927c96f678b3', 0, 'failed', '{"in_reply_to":["held-question-1"],"type":"failed"}', '{"chat":"held-question"}', 1795631962677, NULL, 'sent', 1, 1795631962686, NULL, NULL, NULL, 1795631962691, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (18, '01a21401-4815-76f0-a9a7-34bf83b7abe0', 'careful', 17, '01a21401-4805-72a1-884f-f56ad156fc9f', 0, 'message', '{"text":"first first first first first first first first first first"}', '{"chat":"held-answer","id":"held-answer-1"}', 1795631958037, NULL, 'held', 1, 1795631958062, NULL, 'send_unknown', 'It may have been delivered: timed out.', NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (9, '01a21401-454c-728f-9fa7-0d43d6838636', 'bridge', 9, '01a21401-4533-740b-b110-34084a6e4e39', 0, 'message', '{"in_reply_to":["begun-anew-1"],"text":"Re: begun-anew: question 1","type":"message"}', '{"chat":"begun-anew"}', 1795631957326, NULL, 'sent', 1, 1795631957381, NULL, NULL, NULL, 1795631957383, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (19, '01a21401-4815-76f0-a9a7-34c01ea28d28', 'careful', 17, '01a21401-4805-72a1-884f-f56ad156fc9f', 0, 'message', '{"text":"second second second second second second second second second second"}', '{"chat":"held-answer","id":"held-answer-1"}', 1795631958037, NULL, 'held', 0, NULL, NULL, 'earlier_part_held', NULL, NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (10, '01a21401-456f-72e5-bc8d-194a6e3eda67', 'team', 10, '01a21401-4558-70e9-bfab-7100e72d1497', 0, 'message', '{"text":"Re: shared-room: question 1"}', '{"chat":"shared-room","id":"shared-room-1"}', 1795631957360, NULL, 'sent', 1, 1795631957380, NULL, NULL, NULL, 1795631957383, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (11, '01a21401-4572-73fc-bc04-7ac86ffec7bb', 'limited', 11, '01a21401-4557-74f9-9010-1af62ef35290', 0, 'message', '{"in_reply_to":["talkative-1"],"text":"Re: talkative: question 1","type":"message"}', '{"chat":"talkative"}', 1795631957363, NULL, 'sent', 1, 1795631957389, NULL, NULL, NULL, 1795631957390, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (12, '01a21401-4719-70a6-9942-d315ee3daa57', 'team', 10, '01a21401-470e-71cd-bfdc-18327081179e', 0, 'message', '{"text":"Re: shared-room: question 2"}', '{"chat":"shared-room","id":"shared-room-2"}', 1795631957786, NULL, 'sent', 1, 1795631957802, NULL, NULL, NULL, 1795631957805, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (24, '01a21401-8371-745d-8476-d301b4018a0f', 'careful', 19, '01a21401-8367-73d7-a773-db2bce5ea46a', 0, 'message', '{"text":"second second second second second second second second second second"}', '{"chat":"half-delivered","id":"half-delivered-1"}', 1795631973234, NULL, 'pending', 1, 1795631973259, NULL, 'http_503', '{}', NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (16, '01a21401-4797-76d1-9591-aeea3463df05', 'bridge', 13, '01a21401-4787-76ab-944e-e9c3125c5e88', 0, 'failed', '{"in_reply_to":["rejected-question-1"],"type":"failed"}', '{"chat":"rejected-question"}', 1795631957912, NULL, 'sent', 1, 1795631957922, NULL, NULL, NULL, 1795631957923, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (22, '01a21401-8341-7511-8b77-3e2a4263827f', 'bridge', 18, '01a21401-8338-72d8-80e1-3abe2efd25d5', 0, 'message', '{"in_reply_to":["undiscovered-1"],"text":"Re: undiscovered: question 1","type":"message"}', '{"chat":"undiscovered"}', 1795631973185, NULL, 'sent', 1, 1795631973195, NULL, NULL, NULL, 1795631973198, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (23, '01a21401-8371-745d-8476-d300f4840aa2', 'careful', 19, '01a21401-8367-73d7-a773-db2bce5ea46a', 0, 'message', '{"text":"first first first first first first first first first first"}', '{"chat":"half-delivered","id":"half-delivered-1"}', 1795631973234, NULL, 'sent', 1, 1795631973254, NULL, NULL, NULL, 1795631973257, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (25, '01a21401-8377-738e-b923-663f3be43b28', 'shop', 20, '01a21401-836f-7373-944f-19e7cc78847a', 0, 'message', '{"text":"Re: not-delivered: question 1"}', '{"chat":"not-delivered","id":"not-delivered-1"}', 1795631973240, NULL, 'pending', 1, 1795631973256, NULL, 'http_503', '{}', NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (26, '01a21401-83b7-71b1-9cb4-4f34ef5b6f9a', 'bridge', 21, '01a21401-83af-72bb-bbbb-f824c57511e2', 0, 'message', '{"in_reply_to":["being-sent-1"],"text":"Re: being-sent: question 1","type":"message"}', '{"chat":"being-sent"}', 1795631973304, NULL, 'sending', 1, 1795631973313, NULL, NULL, NULL, NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (27, '01a21401-83e4-711e-ba57-29dd74f2b4e5', 'shop', 22, '01a21401-83db-762e-8a4f-6146a97b995f', 0, 'message', '{"text":"Re: in-the-air: question 1"}', '{"chat":"in-the-air","id":"in-the-air-1"}', 1795631973349, NULL, 'sending', 1, 1795631973358, NULL, NULL, NULL, NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (28, '01a21401-854b-75cd-8276-e438731544a6', 'bridge', 33, '01a21401-8545-75e3-a768-b3ca0a50326f', 0, 'message', '{"in_reply_to":["waited-answered-1"],"text":"Re: waited-answered: question 1","type":"message"}', '{"chat":"waited-answered"}', 1795631973708, 1795631998697, 'pending', 0, NULL, NULL, NULL, NULL, NULL, NULL);


--
-- Data for Name: refinery_schema_history; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.refinery_schema_history VALUES (1, 'messages_lanes_turns_outbox', '2026-11-25T18:39:07Z', '15228654225291262232');
INSERT INTO fini_bridge.refinery_schema_history VALUES (2, 'retention', '2026-11-25T18:39:07Z', '539736106067600288');
INSERT INTO fini_bridge.refinery_schema_history VALUES (3, 'limits', '2026-11-25T18:39:07Z', '529761573321155115');


--
-- Data for Name: schedule; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.schedule VALUES (1, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (1, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (2, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (2, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (5, 'turns', 'whatsapp', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (3, 'turns', 'slack', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (4, 'turns', 'telegram', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (6, 'turns', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (3, 'deliveries', 'slack', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (5, 'deliveries', 'whatsapp', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (6, 'deliveries', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (4, 'deliveries', 'telegram', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (7, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (8, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (10, 'turns', 'team', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (10, 'deliveries', 'team', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (12, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (12, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (13, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (13, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (14, 'turns', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (14, 'deliveries', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (17, 'turns', 'careful', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (17, 'deliveries', 'careful', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (7, 'turns', 'bridge', 1795631974433, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (8, 'turns', 'bridge', 1795631982534, '88e43319-867b-41c8-9761-e759a5ee1494', 2, false);
INSERT INTO fini_bridge.schedule VALUES (11, 'turns', 'limited', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (11, 'deliveries', 'limited', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (9, 'turns', 'bridge', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (9, 'deliveries', 'bridge', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (15, 'turns', 'bridge', NULL, NULL, 6, false);
INSERT INTO fini_bridge.schedule VALUES (16, 'turns', 'bridge', NULL, NULL, 6, false);
INSERT INTO fini_bridge.schedule VALUES (15, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (16, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (18, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (18, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (19, 'turns', 'careful', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (20, 'turns', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (20, 'deliveries', 'shop', 1795631974671, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (19, 'deliveries', 'careful', 1795631974598, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (21, 'deliveries', 'bridge', 1795631982307, '88e43319-867b-41c8-9761-e759a5ee1494', 1, false);
INSERT INTO fini_bridge.schedule VALUES (21, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (22, 'deliveries', 'shop', 1795631982352, '88e43319-867b-41c8-9761-e759a5ee1494', 1, false);
INSERT INTO fini_bridge.schedule VALUES (22, 'turns', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (23, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (23, 'turns', 'bridge', 1795631974394, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (24, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (24, 'turns', 'bridge', 1795631974477, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (25, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (25, 'turns', 'bridge', 1795631982509, '88e43319-867b-41c8-9761-e759a5ee1494', 1, false);
INSERT INTO fini_bridge.schedule VALUES (26, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (26, 'turns', 'bridge', 1795631982559, '88e43319-867b-41c8-9761-e759a5ee1494', 1, false);
INSERT INTO fini_bridge.schedule VALUES (27, 'deliveries', 'whatsapp', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (27, 'turns', 'whatsapp', 1795631982585, '88e43319-867b-41c8-9761-e759a5ee1494', 1, false);
INSERT INTO fini_bridge.schedule VALUES (28, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (28, 'turns', 'bridge', 1795631982611, '88e43319-867b-41c8-9761-e759a5ee1494', 1, false);
INSERT INTO fini_bridge.schedule VALUES (29, 'deliveries', 'off', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (29, 'turns', 'off', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (30, 'deliveries', 'merging', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (30, 'turns', 'merging', 1795631993647, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (31, 'deliveries', 'throttled', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (31, 'turns', 'throttled', 1795631973667, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (32, 'deliveries', 'throttled', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (32, 'turns', 'throttled', 1795631973693, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (33, 'turns', 'bridge', 1795631982700, '88e43319-867b-41c8-9761-e759a5ee1494', 1, false);
INSERT INTO fini_bridge.schedule VALUES (33, 'deliveries', 'bridge', 1795631998697, NULL, 0, false);


--
-- Data for Name: turns; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.turns VALUES ('01a21401-1d57-75b0-a571-fe03d5bd50a4', 1, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', NULL, NULL, NULL, 1795631947082, 1795631947104, 'answered', 1, 1795631947104, NULL, false, 0, NULL, NULL, 1795631947116, '[]', true, 'bridge', 'ce7e3e1a7ba06b98593d4383c4db66b1');
INSERT INTO fini_bridge.turns VALUES ('01a21401-44d5-70dd-a324-235dfaee0058', 2, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'greeted: question 1', '{}', '{"chat":"greeted"}', 1795631957187, 1795631957207, 'answered', 1, 1795631957207, NULL, false, 0, NULL, NULL, 1795631957215, '["user/message","finibot/message"]', false, 'bridge', 'd03ecf2bff5d237957d457ca6e40f495');
INSERT INTO fini_bridge.turns VALUES ('01a21401-44e8-76a4-a0b5-37b999eea084', 3, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'D00ANSWERED1: question 1', '{}', '{"channel":"D00ANSWERED1","thread_ts":null}', 1795631957198, 1795631957232, 'answered', 1, 1795631957232, NULL, false, 0, NULL, NULL, 1795631957250, '["user/message","finibot/message"]', false, 'slack', 'f1ca437e77c1ce4892f2efe8d022412f');
INSERT INTO fini_bridge.turns VALUES ('01a21401-44f7-720c-8a60-2d2af0ca4156', 5, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', '16505550001: question 1', '{}', '{"message_id":"wamid.16505550001.1","to":"16505550001"}', 1795631957224, 1795631957243, 'answered', 1, 1795631957243, NULL, false, 0, NULL, NULL, 1795631957254, '["user/message","finibot/message"]', false, 'whatsapp', '33d6323504f1a040ad2c6bc3e8f694f1');
INSERT INTO fini_bridge.turns VALUES ('01a21401-44f0-73c1-adc8-8500323126c1', 4, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', '5000001: question 1', '{}', '{"chat_id":5000001}', 1795631957210, 1795631957240, 'answered', 1, 1795631957240, NULL, false, 0, NULL, NULL, 1795631957269, '["user/message","finibot/message"]', false, 'telegram', '7f4333c19976c4981339db5910e43e29');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4505-73de-99a1-4d3d331e175a', 6, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'served: question 1', '{"email":"zoe@example.com"}', '{"chat":"served","id":"served-1"}', 1795631957234, 1795631957261, 'answered', 1, 1795631957261, NULL, false, 0, NULL, NULL, 1795631957274, '["user/message","finibot/message"]', false, 'shop', 'c768b6353e5d7524537e6c14000f19af');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4527-7558-99d1-b7fd1f173852', 7, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'unknown-later: question 1', '{}', '{"chat":"unknown-later"}', 1795631957248, 1795631957296, 'answered', 1, 1795631957296, NULL, false, 0, NULL, NULL, 1795631957311, '["user/message","finibot/message"]', false, 'bridge', '9a9623dd965a8dbbcf6d56db5baacf66');
INSERT INTO fini_bridge.turns VALUES ('01a21401-452f-7488-af56-cece168dcefe', 8, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'open-later: question 1', '{}', '{"chat":"open-later"}', 1795631957267, 1795631957303, 'answered', 1, 1795631957303, NULL, false, 0, NULL, NULL, 1795631957323, '["user/message","finibot/message"]', false, 'bridge', '641fda51070a1eb05bdb3ae83937e5eb');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4533-740b-b110-34084a6e4e39', 9, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'begun-anew: question 1', '{}', '{"chat":"begun-anew"}', 1795631957284, 1795631957310, 'answered', 1, 1795631957310, NULL, false, 0, NULL, NULL, 1795631957326, '["user/message","finibot/message"]', false, 'bridge', 'deea71f0f594a5215a9869211d8fda54');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4558-70e9-bfab-7100e72d1497', 10, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'shared-room: question 1', '{"email":"person-1@example.com"}', '{"chat":"shared-room","id":"shared-room-1"}', 1795631957303, 1795631957343, 'answered', 1, 1795631957343, NULL, false, 0, NULL, NULL, 1795631957360, '["user/message","finibot/message"]', false, 'team', '02302c848c7fb74bc79d655c7e996fe1');
INSERT INTO fini_bridge.turns VALUES ('01a21401-473f-74a4-bc3b-97567b01c356', 11, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'talkative: question 2', '{}', '{"chat":"talkative"}', 1795631957814, 1795631957825, 'answered', 1, 1795631957825, NULL, false, 0, NULL, NULL, 1795631957833, '["user/message","finibot/message"]', false, 'limited', 'cb2144e0ff3cbc5f879a1f32e1d74026');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4787-76ab-944e-e9c3125c5e88', 13, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'rejected-question: question 1', '{}', '{"chat":"rejected-question"}', 1795631957879, 1795631957900, 'failed', 1, 1795631957900, NULL, false, 0, 'fini_400', 'simulated fault', 1795631957912, '[]', false, 'bridge', 'b6d6672981b9d881e13c11712be481a0');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4801-76b4-a0a0-5a32bc8642f6', 16, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'given-up: question 1', '{}', '{"chat":"given-up"}', 1795631958011, 1795631958021, 'held', 1, 1795631958021, 1795631958035, true, 0, 'stored_not_answered', 'Fini has the message but gave no answer within fini.settle.', 1795631962678, '["user/message"]', false, 'bridge', '75abd32d4c03a6a7e367ebe7b97e0468');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4805-72a1-884f-f56ad156fc9f', 17, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'held-answer: question 1', '{"email":"zoe@example.com"}', '{"chat":"held-answer","id":"held-answer-1"}', 1795631958015, 1795631958024, 'answered', 1, 1795631958024, NULL, false, 0, NULL, NULL, 1795631958037, '["user/message","finibot/message"]', false, 'careful', 'b5c75324deb67ac836bf81cda788717a');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4806-7476-aadf-927c96f678b3', 15, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'held-question: question 1', '{}', '{"chat":"held-question"}', 1795631958008, 1795631958024, 'held', 1, 1795631958024, 1795631958034, true, 0, 'stored_not_answered', 'Fini has the message but gave no answer within fini.settle.', 1795631962677, '["user/message"]', false, 'bridge', '2cc17839911d09f295f07329c83d7143');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4557-74f9-9010-1af62ef35290', 11, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'talkative: question 1', '{}', '{"chat":"talkative"}', 1795631957315, 1795631957352, 'answered', 1, 1795631957352, NULL, false, 0, NULL, NULL, 1795631957363, '["user/message","finibot/message"]', false, 'limited', 'cb2144e0ff3cbc5f879a1f32e1d74026');
INSERT INTO fini_bridge.turns VALUES ('01a21401-470e-71cd-bfdc-18327081179e', 10, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'shared-room: question 2', '{}', '{"chat":"shared-room","id":"shared-room-2"}', 1795631957767, 1795631957775, 'answered', 1, 1795631957775, NULL, false, 0, NULL, NULL, 1795631957786, '["user/message","finibot/message"]', false, 'team', 'cd506deb167bc78c47b24a8eb43bfb72');
INSERT INTO fini_bridge.turns VALUES ('01a21401-4779-73e1-8eec-bea26bb962cd', 12, 0, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', NULL, NULL, NULL, 1795631957873, 1795631957882, 'dropped', 0, NULL, NULL, false, 0, 'blank', NULL, 1795631957882, '[]', false, NULL, NULL);
INSERT INTO fini_bridge.turns VALUES ('01a21401-4779-73e1-8eec-bea03381a17f', 9, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', NULL, NULL, NULL, 1795631957870, 1795631957882, 'dropped', 0, NULL, NULL, false, 0, 'reset', NULL, 1795631957882, '[]', false, NULL, NULL);
INSERT INTO fini_bridge.turns VALUES ('01a21401-47c1-73e2-b7a0-fee8297ea7a0', 14, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'refused-answer: question 1', '{"email":"zoe@example.com"}', '{"chat":"refused-answer","id":"refused-answer-1"}', 1795631957945, 1795631957957, 'answered', 1, 1795631957957, NULL, false, 0, NULL, NULL, 1795631957967, '["user/message","finibot/message"]', false, 'shop', 'b9e3dd8c578c7c230ad7611781b048f0');
INSERT INTO fini_bridge.turns VALUES ('01a21401-8338-72d8-80e1-3abe2efd25d5', 18, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'undiscovered: question 1', '{}', '{"chat":"undiscovered"}', 1795631973163, 1795631973178, 'answered', 1, 1795631973178, NULL, false, 0, NULL, NULL, 1795631973185, '["user/message","finibot/message"]', false, 'bridge', '3afe3e22d18ecd691bb09fa116880d56');
INSERT INTO fini_bridge.turns VALUES ('01a21401-8367-73d7-a773-db2bce5ea46a', 19, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'half-delivered: question 1', '{"email":"zoe@example.com"}', '{"chat":"half-delivered","id":"half-delivered-1"}', 1795631973216, 1795631973226, 'answered', 1, 1795631973226, NULL, false, 0, NULL, NULL, 1795631973234, '["user/message","finibot/message"]', false, 'careful', '3bb5c7fc9d1ba91453728463b7a4e1e2');
INSERT INTO fini_bridge.turns VALUES ('01a21401-836f-7373-944f-19e7cc78847a', 20, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'not-delivered: question 1', '{"email":"zoe@example.com"}', '{"chat":"not-delivered","id":"not-delivered-1"}', 1795631973223, 1795631973234, 'answered', 1, 1795631973234, NULL, false, 0, NULL, NULL, 1795631973240, '["user/message","finibot/message"]', false, 'shop', '8d1245a9d3c9bbcc0ddab6b011ab12f9');
INSERT INTO fini_bridge.turns VALUES ('01a21401-83af-72bb-bbbb-f824c57511e2', 21, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'being-sent: question 1', '{}', '{"chat":"being-sent"}', 1795631973288, 1795631973297, 'answered', 1, 1795631973297, NULL, false, 0, NULL, NULL, 1795631973304, '["user/message","finibot/message"]', false, 'bridge', '62ad3d1e018e059c5cd87e11eff12532');
INSERT INTO fini_bridge.turns VALUES ('01a21401-83db-762e-8a4f-6146a97b995f', 22, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'in-the-air: question 1', '{"email":"zoe@example.com"}', '{"chat":"in-the-air","id":"in-the-air-1"}', 1795631973333, 1795631973342, 'answered', 1, 1795631973342, NULL, false, 0, NULL, NULL, 1795631973349, '["user/message","finibot/message"]', false, 'shop', '7682171fce25fce369a4d021fc9f887b');
INSERT INTO fini_bridge.turns VALUES ('01a21401-8407-7781-ad34-b130bc011a1b', 23, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'unknown-first: question 1', '{}', '{"chat":"unknown-first"}', 1795631973376, 1795631973385, 'unknown', 1, 1795631973385, 1795631973394, true, 0, 'fini_500', NULL, NULL, '[]', false, 'bridge', '9512754f64d9754bfb5f6d24a12386ac');
INSERT INTO fini_bridge.turns VALUES ('01a21401-845d-7628-a7c1-a8972d9668b1', 24, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'unknown-nothing: question 1', '{}', '{"chat":"unknown-nothing"}', 1795631973463, 1795631973473, 'unknown', 1, 1795631973473, 1795631973477, true, 0, 'fini_500', NULL, NULL, '[]', false, 'bridge', 'ec0b12246bca1ab4e8c21d16fd20edcf');
INSERT INTO fini_bridge.turns VALUES ('01a21401-84a0-7631-abac-86a8445aa23c', 8, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'open-later: question 2', '{}', '{"chat":"open-later"}', 1795631973532, 1795631973537, 'asking', 1, 1795631973537, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'bridge', '641fda51070a1eb05bdb3ae83937e5eb');
INSERT INTO fini_bridge.turns VALUES ('01a21401-84ed-74ca-a967-235d6efe81ea', 28, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'waited-asking: question 1', '{}', '{"chat":"waited-asking"}', 1795631973609, 1795631973615, 'asking', 1, 1795631973615, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'bridge', '3f659855d50ecfcbfe54679f7bb07725');
INSERT INTO fini_bridge.turns VALUES ('01a21401-8431-7677-891a-bb085dd4ff16', 7, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'unknown-later: question 2', '{}', '{"chat":"unknown-later"}', 1795631973421, 1795631973427, 'unknown', 1, 1795631973427, 1795631973433, true, 0, 'fini_500', NULL, NULL, '[]', false, 'bridge', '9a9623dd965a8dbbcf6d56db5baacf66');
INSERT INTO fini_bridge.turns VALUES ('01a21401-84d3-733a-89a9-3d2ad77c4202', 27, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', '16505550002: question 1', '{}', '{"message_id":"wamid.16505550002.1","to":"16505550002"}', 1795631973583, 1795631973589, 'asking', 1, 1795631973589, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'whatsapp', 'c28ed0cbf41e3dc497e823e4e16b8b3e');
INSERT INTO fini_bridge.turns VALUES ('01a21401-8487-73dd-afd6-20252a00794e', 25, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'open-first: question 1', '{}', '{"chat":"open-first"}', 1795631973506, 1795631973513, 'asking', 1, 1795631973513, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'bridge', 'c736a9821ca5135334ea3df463a94fe3');
INSERT INTO fini_bridge.turns VALUES ('01a21401-84b9-7124-892d-6faeb5a2176c', 26, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'open-nothing: question 1', '{}', '{"chat":"open-nothing"}', 1795631973556, 1795631973563, 'asking', 1, 1795631973563, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'bridge', 'cb524f67e67743823510a3c10aa153e4');
INSERT INTO fini_bridge.turns VALUES ('01a21401-851a-749e-9923-aeb48dcc56f6', 31, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'throttled-chat: question 1', '{}', '{"chat":"throttled-chat"}', 1795631973652, 1795631973660, 'open', 1, 1795631973660, NULL, false, 0, 'fini_429', NULL, NULL, '[]', false, 'throttled', 'fc9a64bf6b267830f4ff8eb8a5951575');
INSERT INTO fini_bridge.turns VALUES ('01a21401-8545-75e3-a768-b3ca0a50326f', 33, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'waited-answered: question 1', '{}', '{"chat":"waited-answered"}', 1795631973697, 1795631973703, 'answered', 1, 1795631973703, NULL, false, 0, NULL, NULL, 1795631973708, '["user/message","finibot/message"]', false, 'bridge', '41abdbdd89c6ea44a2999fad872911f7');


--
-- Name: lanes_id_seq; Type: SEQUENCE SET; Schema: fini_bridge; Owner: -
--

SELECT pg_catalog.setval('fini_bridge.lanes_id_seq', 33, true);


--
-- Name: messages_seq_seq; Type: SEQUENCE SET; Schema: fini_bridge; Owner: -
--

SELECT pg_catalog.setval('fini_bridge.messages_seq_seq', 44, true);


--
-- Name: parts_seq_seq; Type: SEQUENCE SET; Schema: fini_bridge; Owner: -
--

SELECT pg_catalog.setval('fini_bridge.parts_seq_seq', 28, true);


--
-- Name: conversations conversations_interaction_id_key; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.conversations
    ADD CONSTRAINT conversations_interaction_id_key UNIQUE (interaction_id);


--
-- Name: conversations conversations_pkey; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.conversations
    ADD CONSTRAINT conversations_pkey PRIMARY KEY (lane, generation);


--
-- Name: lanes lanes_channel_chat_key; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.lanes
    ADD CONSTRAINT lanes_channel_chat_key UNIQUE (channel, chat);


--
-- Name: lanes lanes_pkey; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (id);


--
-- Name: messages messages_channel_key_digest_key; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.messages
    ADD CONSTRAINT messages_channel_key_digest_key UNIQUE (channel, key_digest);


--
-- Name: messages messages_id_key; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.messages
    ADD CONSTRAINT messages_id_key UNIQUE (id);


--
-- Name: messages messages_pkey; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (seq);


--
-- Name: meta meta_pkey; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (key);


--
-- Name: parts parts_id_key; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.parts
    ADD CONSTRAINT parts_id_key UNIQUE (id);


--
-- Name: parts parts_pkey; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.parts
    ADD CONSTRAINT parts_pkey PRIMARY KEY (seq);


--
-- Name: refinery_schema_history refinery_schema_history_pkey; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.refinery_schema_history
    ADD CONSTRAINT refinery_schema_history_pkey PRIMARY KEY (version);


--
-- Name: schedule schedule_pkey; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.schedule
    ADD CONSTRAINT schedule_pkey PRIMARY KEY (lane, work);


--
-- Name: turns turns_pkey; Type: CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (id);


--
-- Name: messages_lane; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX messages_lane ON fini_bridge.messages USING btree (lane) WHERE (lane IS NOT NULL);


--
-- Name: messages_to_prune; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX messages_to_prune ON fini_bridge.messages USING btree (ended_at) WHERE ((ended_at IS NOT NULL) AND (NOT pruned));


--
-- Name: messages_turn; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX messages_turn ON fini_bridge.messages USING btree (turn, place) WHERE (turn IS NOT NULL);


--
-- Name: messages_undone; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX messages_undone ON fini_bridge.messages USING btree (state, channel, seq, dormant) WHERE (state <> 'done'::text);


--
-- Name: messages_waiting; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX messages_waiting ON fini_bridge.messages USING btree (lane, seq) WHERE (state = 'received'::text);


--
-- Name: parts_lane; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX parts_lane ON fini_bridge.parts USING btree (lane);


--
-- Name: parts_pending; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX parts_pending ON fini_bridge.parts USING btree (channel) WHERE (state = ANY (ARRAY['pending'::text, 'sending'::text]));


--
-- Name: parts_receipt; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX parts_receipt ON fini_bridge.parts USING hash (receipt) WHERE (receipt IS NOT NULL);


--
-- Name: parts_turn; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX parts_turn ON fini_bridge.parts USING btree (turn, seq);


--
-- Name: parts_waiting; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX parts_waiting ON fini_bridge.parts USING btree (lane, seq) WHERE (state = ANY (ARRAY['pending'::text, 'sending'::text]));


--
-- Name: schedule_due; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX schedule_due ON fini_bridge.schedule USING btree (work, channel, due_at) WHERE (due_at IS NOT NULL);


--
-- Name: turns_current; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE UNIQUE INDEX turns_current ON fini_bridge.turns USING btree (lane) WHERE (ended_at IS NULL);


--
-- Name: turns_lane; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX turns_lane ON fini_bridge.turns USING btree (lane, generation);


--
-- Name: turns_of_channel; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX turns_of_channel ON fini_bridge.turns USING btree (channel, begun_at) WHERE (sender_ref IS NOT NULL);


--
-- Name: turns_of_lane; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX turns_of_lane ON fini_bridge.turns USING btree (lane, begun_at) WHERE (sender_ref IS NOT NULL);


--
-- Name: turns_of_sender; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX turns_of_sender ON fini_bridge.turns USING btree (sender_ref, begun_at) WHERE (sender_ref IS NOT NULL);


--
-- Name: turns_recent; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX turns_recent ON fini_bridge.turns USING btree (lane, begun_at) WHERE (role = 'user'::text);


--
-- Name: turns_to_prune; Type: INDEX; Schema: fini_bridge; Owner: -
--

CREATE INDEX turns_to_prune ON fini_bridge.turns USING btree (ended_at) WHERE ((ended_at IS NOT NULL) AND (NOT pruned));


--
-- Name: conversations conversations_lane_fkey; Type: FK CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.conversations
    ADD CONSTRAINT conversations_lane_fkey FOREIGN KEY (lane) REFERENCES fini_bridge.lanes(id);


--
-- Name: messages messages_lane_fkey; Type: FK CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.messages
    ADD CONSTRAINT messages_lane_fkey FOREIGN KEY (lane) REFERENCES fini_bridge.lanes(id);


--
-- Name: parts parts_lane_fkey; Type: FK CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.parts
    ADD CONSTRAINT parts_lane_fkey FOREIGN KEY (lane) REFERENCES fini_bridge.lanes(id);


--
-- Name: parts parts_turn_fkey; Type: FK CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.parts
    ADD CONSTRAINT parts_turn_fkey FOREIGN KEY (turn) REFERENCES fini_bridge.turns(id);


--
-- Name: schedule schedule_lane_fkey; Type: FK CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.schedule
    ADD CONSTRAINT schedule_lane_fkey FOREIGN KEY (lane) REFERENCES fini_bridge.lanes(id);


--
-- Name: turns turns_lane_fkey; Type: FK CONSTRAINT; Schema: fini_bridge; Owner: -
--

ALTER TABLE ONLY fini_bridge.turns
    ADD CONSTRAINT turns_lane_fkey FOREIGN KEY (lane) REFERENCES fini_bridge.lanes(id);


--
-- PostgreSQL database dump complete
--


