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

INSERT INTO fini_bridge.conversations VALUES (5, 1, 'whatsapp', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '6c4aae165b104d1c108beef27e0b747e', 'f98c5a73-0b4f-466c-bb5a-4b449ab6c04a', 1795632190982, '["be607c88-c4ac-4031-9eb3-e8b39752b1e1","a351d5c9-9a1b-4b5d-ac8d-07ed9d66d18b"]', 1795632190997, 'a351d5c9-9a1b-4b5d-ac8d-07ed9d66d18b', 1795632191002);
INSERT INTO fini_bridge.conversations VALUES (1, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'a391df32b5981fa121946da0092b334c', 'c409b264-efa6-46d9-bc56-5d5db3f827ee', 1795632180808, '["09bb51ab-ad9e-4d5f-90cc-de06cfd97af7","d00e9d6b-7616-40db-a24d-fc194c299a18"]', 1795632180814, 'd00e9d6b-7616-40db-a24d-fc194c299a18', 1795632180816);
INSERT INTO fini_bridge.conversations VALUES (14, 1, 'shop', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '231ed6fb896feb92f0be68888880b1b1', '7ec50f09-0592-41b9-b2a3-18b9aa07e930', 1795632191950, '["f4b33fd7-1202-4375-9231-6e2bfc7089d0","5dd20cc4-a386-4f1d-af3c-e3dc7323be06"]', 1795632191957, '5dd20cc4-a386-4f1d-af3c-e3dc7323be06', 1795632191960);
INSERT INTO fini_bridge.conversations VALUES (15, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '2444a31dee942b8fe26ae46f70f1d207', '3f0ed8f4-0532-48d2-84db-3aff09ff928e', 1795632192016, '[]', 1795632192020, '12ec9b4b-31af-4a4a-ab23-1df680158982', 1795632196466);
INSERT INTO fini_bridge.conversations VALUES (4, 1, 'telegram', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'af963f9c339c1de05dc36f90958947c1', '94327dd6-a6fd-41f2-b8f7-295ac613c03a', 1795632190942, '["de80113d-2f0c-4b95-bfe3-97e7001382e9","80a1279a-146e-4d12-94ea-68bb6296981e"]', 1795632190953, '80a1279a-146e-4d12-94ea-68bb6296981e', 1795632190957);
INSERT INTO fini_bridge.conversations VALUES (3, 1, 'slack', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '6594088fa8311d516c8c665aab92e2ec', '1460b6df-5fd8-4053-9041-4dcd3386f0b1', 1795632190931, '["3b9cd708-514c-4f08-a819-500bbd6e4544","b1d39842-ea15-4487-b942-ad5d156c6e99"]', 1795632190942, 'b1d39842-ea15-4487-b942-ad5d156c6e99', 1795632190946);
INSERT INTO fini_bridge.conversations VALUES (2, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'b6f9216c5a59a2ea31fa4b1914f5fc8e', '98c96578-cf06-4fc5-a6bd-fe1b25c32293', 1795632190915, '["059b15a3-5779-4441-a0a2-cbecfe537d71","80ccb5c7-46d0-4b77-8d39-a236e318a556"]', 1795632190923, '80ccb5c7-46d0-4b77-8d39-a236e318a556', 1795632190929);
INSERT INTO fini_bridge.conversations VALUES (10, 1, 'team', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '902d4a1f292a196b1300336c9520caf3', 'b99b6b41-29a2-4f63-88de-2eebdbbe13ea', 1795632191064, '["4a64684f-c068-4c3d-8ee4-0d9cdfec48b1","723eb35a-ed8d-454f-b12c-7ea2be931e7f"]', 1795632191089, 'f065b827-c586-4a12-8cc3-d6312814a15e', 1795632191109);
INSERT INTO fini_bridge.conversations VALUES (11, 1, 'limited', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '3a3efe312407c5888db71e9ecb12c421', '3140256c-3f5c-41b8-813f-c6725b77f617', 1795632191080, '["96d315a0-8a78-41a6-9de0-c9a6664f8caf","16f168fb-fb42-4d20-8708-50e07fc153ba"]', 1795632191098, '19413c82-7e75-445a-9a4e-5173a003b182', 1795632191100);
INSERT INTO fini_bridge.conversations VALUES (13, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '4181b4dbfd5e114ece1e5e432caf7bd0', NULL, 1795632191879, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (9, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '29b8dea4d38ea51808faec851d58b05c', 'a02cb5c8-27fa-4174-ac74-f296ccee03c5', 1795632191036, '["f94d6528-e811-4c54-ae8a-79314229896b","007ea607-9d59-4291-a306-7cbedad2b86c"]', 1795632191054, '007ea607-9d59-4291-a306-7cbedad2b86c', 1795632191057);
INSERT INTO fini_bridge.conversations VALUES (8, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'cad36d3cd98d211c335ca3ea937831b8', 'a8f0bea3-20f5-4ba1-a6fb-bf904c77acdb', 1795632191019, '["da9d1eae-3089-45f4-b3de-a0f3d1e0b1e2","14c4fc68-f581-4075-b818-4a7a1850a57b"]', 1795632191033, '14c4fc68-f581-4075-b818-4a7a1850a57b', 1795632191043);
INSERT INTO fini_bridge.conversations VALUES (7, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '7a1a8ea2941202426aac18230dc6582e', 'a04d6539-373f-4850-a142-3e1e9b2d3ec8', 1795632190996, '["83d4206a-a8f9-40d1-a9f4-d00c731ed6ff","6aa1eaad-d2d8-42a9-8c08-63b512c04aa5"]', 1795632191005, '6aa1eaad-d2d8-42a9-8c08-63b512c04aa5', 1795632191012);
INSERT INTO fini_bridge.conversations VALUES (6, 1, 'shop', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '709bc748a4d9d900ae984177e6ccfa6e', '3749bc93-dfbf-4aca-96c8-89f875f3681b', 1795632190981, '["a8c06b06-f8dd-4f54-a6f4-96065c4f5bd9","b1184f6d-e8ed-4d1c-b32d-35aa0d708f75"]', 1795632191000, 'b1184f6d-e8ed-4d1c-b32d-35aa0d708f75', 1795632191009);
INSERT INTO fini_bridge.conversations VALUES (19, 1, 'careful', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '226fd4813145faa3acd4a8430861152b', NULL, 1795632207355, '["5d686571-545d-40a3-b68d-914fc1573064","ddacf65d-0632-4962-8f65-6347d0ef160b"]', 1795632207364, 'ddacf65d-0632-4962-8f65-6347d0ef160b', 1795632207387);
INSERT INTO fini_bridge.conversations VALUES (16, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'c4331604ed36b56eb3532b464ed0eed4', 'a5df72ac-8d10-4752-ad43-ea2af709107b', 1795632192019, '[]', 1795632192025, 'aa48a826-8d7e-49c2-96fa-bb3e25c54713', 1795632196466);
INSERT INTO fini_bridge.conversations VALUES (17, 1, 'careful', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '3e0cdd3467a9cae665c385c63a6e3327', '23b91813-ec3e-4c79-aaa5-cb77a16ecc65', 1795632192029, '["45406740-c453-445f-b004-bdc946fee181","50419fd4-9d42-4b5a-829a-a08c7946b4af"]', 1795632192040, '50419fd4-9d42-4b5a-829a-a08c7946b4af', 1795632192045);
INSERT INTO fini_bridge.conversations VALUES (18, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '4b1b20043f1549e6a57c78a996c9c40e', NULL, 1795632207245, '["1e5b552b-c348-4026-8fe0-67089eef7083","d6edb0c3-89ab-4a61-a2e8-90818555bde5"]', 1795632207249, 'd6edb0c3-89ab-4a61-a2e8-90818555bde5', 1795632207252);
INSERT INTO fini_bridge.conversations VALUES (20, 1, 'shop', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '7ab52fbec68fd6cee3cfc85f36cfeaec', NULL, 1795632207363, '["6001234e-fb30-43c8-99e9-5e3523407514","f7434ca1-02dd-4be5-8c9a-a4ff6932d9d7"]', 1795632207366, 'f7434ca1-02dd-4be5-8c9a-a4ff6932d9d7', 1795632207387);
INSERT INTO fini_bridge.conversations VALUES (21, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '521b89bf1383e525683900a1a72e980d', NULL, 1795632207448, '["ec17590e-f794-456a-8f8b-c08dbb4007ef","7b2f12c1-667f-46b0-a57f-9a18357a2429"]', 1795632207451, '7b2f12c1-667f-46b0-a57f-9a18357a2429', 1795632207456);
INSERT INTO fini_bridge.conversations VALUES (22, 1, 'shop', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '673f2f90688c6b42ecc639b8b552494b', NULL, 1795632207509, '["b3d171b2-d1eb-4070-a27e-0e9e6a96aeaa","3f4d9493-8327-4f22-804b-43d5cb968d24"]', 1795632207513, '3f4d9493-8327-4f22-804b-43d5cb968d24', 1795632207515);
INSERT INTO fini_bridge.conversations VALUES (23, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '6d35ed3943e91b3070bd6dc4e277d45a', NULL, 1795632207550, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (24, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'c49bfe5078b2d75d6c0c434b0aa798cf', NULL, 1795632207640, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (25, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '3b818733a7246fd300d44ac40bcdd415', NULL, 1795632207678, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (26, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '1e0d303dd0b31cfff98b16206f811dc4', NULL, 1795632207731, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (27, 1, 'whatsapp', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '9b0166406274a2964e2c67b88d819ef4', NULL, 1795632207763, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (31, 1, 'throttled', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'e388b425f0ff8476d261da1a0a3033d1', NULL, 1795632207833, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (28, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'f649721ac0b6f5fdd5bcc00c0cd252f8', NULL, 1795632207790, '[]', NULL, NULL, NULL);
INSERT INTO fini_bridge.conversations VALUES (33, 1, 'bridge', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '13ece3a8e8af11233a628930368f82eb', NULL, 1795632207859, '["48e80753-ecc4-4a78-9ebf-3d026a5fa92b","45c709ea-3ddc-4da9-9991-05ff1c3771e9"]', 1795632207862, '45c709ea-3ddc-4da9-9991-05ff1c3771e9', 1795632207864);


--
-- Data for Name: lanes; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (8, 'bridge', 'open-later', '94d64cdffda7981169080759c06cda80', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207708, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (1, 'bridge', 'long-ago', 'aac7725eb51a7713329abd74d49762c3', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632180816, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (13, 'bridge', 'rejected-question', '5fb0c8e4d0eee647005507911666069f', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632191885, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (2, 'bridge', 'greeted', 'ff2cfa896422fddbc31907f1fce77813', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632190929, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (14, 'shop', 'refused-answer', '6f3820c51932c51e02366bbf8f9db6f4', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632191960, NULL, '2ba0112e47f3158b59d7e09a3a0829be', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (3, 'slack', 'T00FAKE00AA:D00ANSWERED1', 'b02b2e4be6aefd16f288709969104418', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632190946, '95555ca0f99cd42768f4fdc88f6751fa', '91b7280518e050a2006ae24ca1571184', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (4, 'telegram', '5000001', '74c51f24cc247cfb7dfeb0a6f3ce3a61', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632190957, '759bd52de3d56cffafc06f8749734db2', 'a4da05cdd8c46cfc320fa17ca712b103', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (10, 'team', 'shared-room', '3e322270a4a727966b74fad9c39437a2', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632191678, '19418fa1dd20d224b5837403138c4f2d', 'd2a3245a85aea4ce71cc9b29478a5037', true);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (11, 'limited', 'talkative', 'ee360e9dd311294028d3ad34a7518c46', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632191785, NULL, 'bf871b8c222bfc107bbb53644606aacc', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (9, 'bridge', 'begun-anew', 'c9a680be8a9e490588a89531107555e9', 2, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632191841, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (5, 'whatsapp', '106540352242922:16505550001', 'bb64246e70662b315cfa8dd9a03f69c6', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632191002, '781e42a9a04de4020b6d0feef9a09cc7', '0ab2df280164fe750f7dc2fc2fddd823', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (6, 'shop', 'served', 'df563525657f326b751f35db7ab15d34', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632191009, NULL, '2ba0112e47f3158b59d7e09a3a0829be', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (12, 'bridge', 'blank', '3fc5521e7ca55438884b29af6d48fd77', 0, NULL, 1795632191854, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (17, 'careful', 'held-answer', 'a9b9248592938224faf0f53370996228', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632192045, NULL, '22acf0fc47637a72c1ca658f9fe08d44', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (15, 'bridge', 'held-question', '45543d8a7d3a7ce98c308183bcf44d44', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632196466, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (16, 'bridge', 'given-up', '16752593c7088df5d4636a1916eb0e98', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632196466, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (7, 'bridge', 'unknown-later', '384c3cd12e90ada5e5acf2aa13c92ce1', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207603, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (18, 'bridge', 'undiscovered', '2f232d2aee5825965af52f683d0f4a8f', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207252, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (20, 'shop', 'not-delivered', 'a7e764d01fbaaf9b638c5c4a8f5fd75a', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207387, NULL, '2ba0112e47f3158b59d7e09a3a0829be', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (19, 'careful', 'half-delivered', '3aae5650a163dd366229fbe16e445d80', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207387, NULL, '22acf0fc47637a72c1ca658f9fe08d44', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (21, 'bridge', 'being-sent', '0ab2142d2630ebc50d6e34c2c3ff74a7', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207456, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (22, 'shop', 'in-the-air', 'dba84315e6bf7157fbd7764eb98475ab', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207515, NULL, '2ba0112e47f3158b59d7e09a3a0829be', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (23, 'bridge', 'unknown-first', '5ece83926094efa96300d4c131f3b3a8', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207550, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (24, 'bridge', 'unknown-nothing', '6c1bb4562c8ed09e9e29dd63f8187146', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207640, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (25, 'bridge', 'open-first', 'fcb2265ee933b6a046acab284113b418', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207678, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (26, 'bridge', 'open-nothing', 'ec85add8bc48cd29486384a26b53a0f7', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207731, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (27, 'whatsapp', '106540352242922:16505550002', '10a5247afbdfe8480a99255a449f553f', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207763, 'b13cc5574a7388defcb2f935f4dd6010', '0ab2df280164fe750f7dc2fc2fddd823', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (28, 'bridge', 'waited-asking', '0fdd660c9f0d83055f32eaebdf746c6f', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207790, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (29, 'off', 'switched-off', 'c7600792dcce354ec3d59fc2828b25a5', 0, NULL, NULL, NULL, 'ba4cb0af4c329069de8c3504044bcc27', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (33, 'bridge', 'waited-answered', '4937ad2ba071d0656558fb5b0d76b58d', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207864, NULL, '4e6045ccbfeab621976239fd3a931038', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (30, 'merging', 'still-merging', '05df2aa3464abe2af6ac76e1141ad8f2', 0, NULL, NULL, NULL, 'c24509af9c8f5a105f76e9c17713a2f5', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (32, 'throttled', 'not-begun', 'f3138af3ff290bdb4ac0b2013953e2fa', 0, NULL, NULL, NULL, '87f68bf8a24cb6b01f85d98b042d7080', false);
INSERT INTO fini_bridge.lanes OVERRIDING SYSTEM VALUE VALUES (31, 'throttled', 'throttled-chat', '508de3668d69ac0200a302b17c7d7d10', 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 1795632207833, NULL, '87f68bf8a24cb6b01f85d98b042d7080', false);


--
-- Data for Name: messages; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (1, '01a21404-ae2e-7507-9a90-53242704fe88', 'bridge', 'long-ago-1', '\x0b934d7a5a95265d0a83866202825cc761cd3fcf9fdaa9eb22e2e925f67edf4b', 1, 'user', NULL, NULL, NULL, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', NULL, false, NULL, 1795632180783, 1795632180783, NULL, 'done', NULL, NULL, '01a21404-ae45-744d-baae-786c7a34ddd0', 0, 1795632180843, true, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (2, '01a21404-d5a2-7161-8fe2-114c172131cb', 'bridge', 'greeted-1', '\x310b9f723507b0054504fbc2f138b0e3a6bde47d0de6c982beeb5739cb933197', 2, 'user', NULL, 'greeted: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"greeted"}', false, NULL, 1795632190891, 1795632190891, NULL, 'done', NULL, NULL, '01a21404-d5be-73ba-b07e-1a67097d62b5', 0, 1795632190976, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (3, '01a21404-d5b9-74d5-bfd6-40ab315be855', 'slack', 'T00FAKE00AA:D00ANSWERED1:1795632190.000001', '\x73913e211507366a14c3a341548cb44d571859a9a90ca715d5748c3a6340f407', 3, 'user', 'U00FAKEUSER1', 'D00ANSWERED1: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"channel":"D00ANSWERED1","thread_ts":null}', false, 1795632190000, 1795632190907, 1795632190907, NULL, 'done', NULL, NULL, '01a21404-d5ca-7462-9cdd-85b1f2f2fd05', 0, 1795632190994, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (4, '01a21404-d5c5-7471-829a-b21c1979d24a', 'telegram', '5000001:1', '\xde21cac5721dea12c213aaccf12163f831a6e98cb23859319bbd36fda1b43f70', 4, 'user', '5000001', '5000001: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat_id":5000001}', false, NULL, 1795632190918, 1795632190918, NULL, 'done', NULL, NULL, '01a21404-d5d6-70bb-a210-cb7a15442b36', 0, 1795632190997, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (6, '01a21404-d5e2-7735-8ea5-6d8a9e716871', 'shop', 'served-1', '\xdd7ae9e8cd8fa0879afa5dc43ad58f8fd4c7f65600c610e5c3b7b3f2c34de222', 6, 'user', NULL, 'served: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"served","id":"served-1"}', false, NULL, 1795632190948, 1795632190948, NULL, 'done', NULL, NULL, '01a21404-d5f9-764a-8f07-bd77eaec95df', 0, 1795632191052, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (5, '01a21404-d5d3-72d0-a8bf-d3b965561190', 'whatsapp', 'wamid.16505550001.1', '\x2a4b578ff253c664c9b5e898e32ea82a8fe48557ac2d2f6d1af3403f0c0324bf', 5, 'user', '16505550001', '16505550001: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"message_id":"wamid.16505550001.1","to":"16505550001"}', false, 1795632190000, 1795632190932, 1795632190932, NULL, 'done', NULL, NULL, '01a21404-d5f9-764a-8f07-bd761ed81105', 0, 1795632191052, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (7, '01a21404-d5ec-75d7-9055-07561ae713d0', 'bridge', 'unknown-later-1', '\xbdff00ac2911a5d5f6f7cc3daf28ee656da8271e6a3636f9d87049b9d6822774', 7, 'user', NULL, 'unknown-later: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"unknown-later"}', false, NULL, 1795632190957, 1795632190957, NULL, 'done', NULL, NULL, '01a21404-d60f-75d1-92e9-7a00329e76cd', 0, 1795632191066, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (9, '01a21404-d615-7233-ab67-a2d5dc598120', 'bridge', 'begun-anew-1', '\x0d4b510c4ee38dbbdbf1cc22f39c9d78e35d6c944cd8d48ed8af214145ea54c7', 9, 'user', NULL, 'begun-anew: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"begun-anew"}', false, NULL, 1795632190998, 1795632190998, NULL, 'done', NULL, NULL, '01a21404-d631-71a5-99ec-e3d0347651b2', 0, 1795632191098, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (8, '01a21404-d5fe-701a-9302-698f0ac0b71a', 'bridge', 'open-later-1', '\xcbac09971511dcc80d97d7d930875a89664c565bd518d5e7b78469db4b4b522e', 8, 'user', NULL, 'open-later: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-later"}', false, NULL, 1795632190976, 1795632190976, NULL, 'done', NULL, NULL, '01a21404-d61f-72ed-902b-b0214307e1cc', 0, 1795632191098, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (12, '01a21404-d891-71ac-8a82-6c5f8bdb23e1', 'team', 'shared-room-2', '\xcf397fc8d380fe547557a25655a3e5d7492adf1d66c2e4ca2be9dd74da30ffbf', 10, 'user', 'person-2', 'shared-room: question 2', '{"email":"person-2@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"shared-room","id":"shared-room-2"}', false, NULL, 1795632191637, 1795632191637, NULL, 'done', NULL, NULL, '01a21404-d8ad-72dd-8de0-74bdb8cc2ce0', 0, 1795632191694, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (13, '01a21404-d903-73e0-bd76-a4cd4717f2ee', 'limited', 'talkative-2', '\x90480dd4515111e2c0c88e236bd61aceaeae711b8fb1c3950d98347496982360', 11, 'user', NULL, 'talkative: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"talkative"}', false, NULL, 1795632191748, 1795632191748, NULL, 'done', NULL, NULL, '01a21404-d91b-7193-a2dc-6f192e89522e', 0, 1795632191811, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (18, '01a21404-d9be-71f7-9e89-a647c95ad9ec', 'shop', 'refused-answer-1', '\x1eda98e2c8d6b95e576b94aa94c8b229d7d6960e3c6779341638e6f44aa5eb3e', 14, 'user', NULL, 'refused-answer: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"refused-answer","id":"refused-answer-1"}', false, NULL, 1795632191935, 1795632191935, NULL, 'failed', 'http_404', '{}', '01a21404-d9cc-7607-9406-7188ed32450e', 0, 1795632191981, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (21, '01a21404-da0c-7135-b760-7df8e808bde3', 'careful', 'held-answer-1', '\x97d35635af8202bdbad61e2558820c9a6e913cabeaec37f0ed5d986e7b63f86b', 17, 'user', NULL, 'held-answer: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"held-answer","id":"held-answer-1"}', false, NULL, 1795632192012, 1795632192012, NULL, 'held', 'send_unknown', 'It may have been delivered: timed out.', '01a21404-da18-711a-91b1-d2dbc865ce79', 0, 1795632207063, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (20, '01a21404-da06-73f7-905b-27182635d67e', 'bridge', 'given-up-1', '\x2623cc1eb6ce3ff4fac338bb4d4d00206d25499816081a192e978d254c3ad83a', 16, 'user', NULL, 'given-up: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"given-up"}', false, NULL, 1795632192006, 1795632192006, NULL, 'dropped', 'discarded', 'Fini has the message but gave no answer within fini.settle.', '01a21404-da0f-7616-9314-e900e073cfbb', 0, 1795632196466, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (10, '01a21404-d62e-70bb-84b9-706c88d08f96', 'team', 'shared-room-1', '\xba036511bc3631b622f514fe0eb1036097b1b78673af9f91a768c295f844714e', 10, 'user', 'person-1', 'shared-room: question 1', '{"email":"person-1@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"shared-room","id":"shared-room-1"}', false, NULL, 1795632191023, 1795632191023, NULL, 'done', NULL, NULL, '01a21404-d64c-763b-9a43-75e1946a182a', 0, 1795632191132, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (11, '01a21404-d641-70b9-862f-a0a43ae47266', 'limited', 'talkative-1', '\x43e27781d29f9257a4186c14ba426a86ae91c2bb9699bcc7c714c6f85be50e15', 11, 'user', NULL, 'talkative: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"talkative"}', false, NULL, 1795632191041, 1795632191041, NULL, 'done', NULL, NULL, '01a21404-d65c-7595-af96-72b2aeb0edbe', 0, 1795632191132, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (14, '01a21404-d955-742e-8cbb-b23d14180ecc', 'bridge', 'begun-anew-2', '\xb6d795811a5d54dbef6609fba1c8ac5c29ff87161dcb48ce84ee7839c00febab', 9, 'user', NULL, 'reset', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"begun-anew"}', false, NULL, 1795632191831, 1795632191831, NULL, 'dropped', 'reset', NULL, '01a21404-d960-727a-b65e-3576c615b023', 0, 1795632191841, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (16, '01a21404-d966-72b9-9817-b3d1a88c835a', 'shop', 'body:adb2c07b02b8b7fd615243e7491aa9e1316de2bef1b4738744a8245a27904352:0', '\x65db6b1a3e5040dfff33a9d0a3de50d99e3e3f2e626ed9d339cc27a0d7dc9b00', NULL, 'user', NULL, '{"id":"unreadable"}', NULL, NULL, NULL, false, NULL, 1795632191847, 1795632191847, NULL, 'failed', 'malformed', 'inbound.when: undefined', NULL, NULL, 1795632191847, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (15, '01a21404-d95d-714a-aabf-d772dda642bd', 'bridge', 'blank-1', '\x2fcb1ea3e3fd9c7aefeb9cf0f108b92ebd7064492a97cd6f08a2e5acd4e3f595', 12, 'user', NULL, ' ', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"blank"}', false, NULL, 1795632191837, 1795632191837, NULL, 'dropped', 'blank', NULL, '01a21404-d96d-7172-bd48-ad6126c07d62', 0, 1795632191854, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (17, '01a21404-d96c-76f9-8c93-c5a92dea1280', 'bridge', 'rejected-question-1', '\x7c5bbce76eb63f26694103a4a4cae150a42ca2cf82f6773ec9053885aaee2189', 13, 'user', NULL, 'rejected-question: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"rejected-question"}', false, NULL, 1795632191852, 1795632191852, NULL, 'failed', 'fini_400', 'simulated fault', '01a21404-d980-72ac-b0b0-c433c847a1b5', 0, 1795632191885, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (19, '01a21404-da00-7675-8c5e-5dbd64c1c475', 'bridge', 'held-question-1', '\xe32d2396c9a2c31c760287284275cd472bd54bc78a280e386a059e3e91f96e73', 15, 'user', NULL, 'held-question: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"held-question"}', false, NULL, 1795632192002, 1795632192002, NULL, 'held', 'stored_not_answered', 'Fini has the message but gave no answer within fini.settle.', '01a21404-da0a-728b-830f-54303eaf0e14', 0, 1795632196466, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (22, '01a21405-1563-7465-985e-4ead252c793a', 'bridge', 'undiscovered-1', '\x3ef2f3ce904ec171ae14a1eda4160cf08b0f0494bab936ea1a68fc6a3846c4ed', 18, 'user', NULL, 'undiscovered: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"undiscovered"}', false, NULL, 1795632207212, 1795632207212, NULL, 'done', NULL, NULL, '01a21405-1584-7247-b135-e59aff5bb322', 0, 1795632207276, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (24, '01a21405-15f2-7575-b2a3-5f83a3deb79f', 'shop', 'not-delivered-1', '\x1185a9471def9ae1cda61496bbdf85e3616c450f9dd4ed0197d9f86fe4d68ad2', 20, 'user', NULL, 'not-delivered: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"not-delivered","id":"not-delivered-1"}', false, NULL, 1795632207347, 1795632207347, NULL, 'answered', NULL, NULL, '01a21405-1600-7487-8e4b-b2825b61715d', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (23, '01a21405-15e9-7071-a875-0a56c8500559', 'careful', 'half-delivered-1', '\xecf0eaf0ce71e38a4384e2e8d9d841028a02a9e8e4ead744fdbfbaa8a8291c3e', 19, 'user', NULL, 'half-delivered: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"half-delivered","id":"half-delivered-1"}', false, NULL, 1795632207340, 1795632207340, NULL, 'answered', NULL, NULL, '01a21405-15f4-738d-b4b7-523da5f46005', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (25, '01a21405-164b-71ee-9b4d-ee9dbc85399b', 'bridge', 'being-sent-1', '\x7ad42201f07b78a24146107c4fa723e14b65de0770d71e9371e6dacaaf5bd58a', 21, 'user', NULL, 'being-sent: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"being-sent"}', false, NULL, 1795632207438, 1795632207438, NULL, 'answered', NULL, NULL, '01a21405-1654-704e-849a-936a4483167f', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (26, '01a21405-1680-77e0-899b-e772abc6b090', 'shop', 'in-the-air-1', '\x9ac93ca242ebf33540be830cde4d4cc4c6f3beb0a417ebce9e5458aed48217a7', 22, 'user', NULL, 'in-the-air: question 1', '{"email":"zoe@example.com"}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"in-the-air","id":"in-the-air-1"}', false, NULL, 1795632207489, 1795632207489, NULL, 'answered', NULL, NULL, '01a21405-1693-7048-a8cc-ef51a46611aa', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (29, '01a21405-1701-7308-9bed-ed0a760eb22e', 'bridge', 'unknown-nothing-1', '\x45e044dbdd94991dd68b1b567782525ce22e717c1638fb2139c42f8d876cdb7d', 24, 'user', NULL, 'unknown-nothing: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"unknown-nothing"}', false, NULL, 1795632207617, 1795632207617, NULL, 'asking', NULL, NULL, '01a21405-170e-77f9-991e-5406eb3335e6', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (37, '01a21405-17c2-75d5-bbfb-8dd2ec5dc39d', 'whatsapp', 'wamid.16505550002.3', '\xe9fb048fe7da88bb95618a60a0a4ff64346e90cbde6f15a4d0419da1d20cfe46', 27, 'user', '16505550002', '16505550002: question 3', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"message_id":"wamid.16505550002.3","to":"16505550002"}', false, 1795632207000, 1795632207810, 1795632207810, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (42, '01a21405-17d0-71e4-af3d-9de2c8638486', 'throttled', 'throttled-chat-1', '\x70cdeffa451097e48c4d810195b42755e0c132905dc185ef7fdce185c3d1b0c6', 31, 'user', NULL, 'throttled-chat: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"throttled-chat"}', false, NULL, 1795632207825, 1795632207825, NULL, 'asking', NULL, NULL, '01a21405-17d7-76b1-a4a4-f89cbf9f2b78', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (27, '01a21405-16b2-72af-b901-76c4c41b84a7', 'bridge', 'unknown-first-1', '\x5acc5ea5daf7691ba053911481284a0c79b4cd49f00513cb2632698ae9e1a40d', 23, 'user', NULL, 'unknown-first: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"unknown-first"}', false, NULL, 1795632207539, 1795632207539, NULL, 'asking', NULL, NULL, '01a21405-16bc-737e-8f5e-21926572992e', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (30, '01a21405-1732-75aa-bc23-3d6246b630c6', 'bridge', 'open-first-1', '\x510d8b9de3d2eb6798742d0845fe062b9ab30f7f2f791b97168ff58cdbed0779', 25, 'user', NULL, 'open-first: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-first"}', false, NULL, 1795632207669, 1795632207669, NULL, 'asking', NULL, NULL, '01a21405-173b-73cf-9cee-f868477cf644', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (31, '01a21405-174f-7366-8113-72bc87b0a519', 'bridge', 'open-later-2', '\x564501bcad759211a37daddf95de09d9ec17298a2cc198ce1cb66b2fe6b6a7c5', 8, 'user', NULL, 'open-later: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-later"}', false, NULL, 1795632207696, 1795632207696, NULL, 'asking', NULL, NULL, '01a21405-175b-742f-8f36-0d564a778589', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (32, '01a21405-1769-713f-a2ae-5021bbf76271', 'bridge', 'open-nothing-1', '\x83a553eafa32dc539976f1f9dd409bfd156778394a2b125e8848e32edb91e53f', 26, 'user', NULL, 'open-nothing: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-nothing"}', false, NULL, 1795632207722, 1795632207722, NULL, 'asking', NULL, NULL, '01a21405-1771-7782-8eb1-47c622ad5e0b', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (33, '01a21405-1784-7029-9571-9215da878de0', 'whatsapp', 'wamid.16505550002.1', '\x3a86c108ea5fa109bda4dbc4632318e70a1b58df154ddb5af6761b3073b7bafa', 27, 'user', '16505550002', '16505550002: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"message_id":"wamid.16505550002.1","to":"16505550002"}', false, 1795632207000, 1795632207749, 1795632207749, NULL, 'asking', NULL, NULL, '01a21405-1791-707c-b311-1e3df52f240e', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (34, '01a21405-17a4-71b9-8b1d-7d5336060d98', 'bridge', 'waited-asking-1', '\xcca089c334c4aaf2c6a05b569b59c131e174fccb6cc525c75351cc7451e61ad6', 28, 'user', NULL, 'waited-asking: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"waited-asking"}', false, NULL, 1795632207781, 1795632207781, 1795632228781, 'asking', NULL, NULL, '01a21405-17ac-7076-8e37-2204e2c4b66b', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (35, '01a21405-17bb-74f2-b3a3-7a8f13e2525e', 'bridge', 'open-first-2', '\x0150ee136b02fc61aa25bfcc7fc47ba2066462111cbfcf0cd0539a530faae8ae', 25, 'user', NULL, 'open-first: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-first"}', false, NULL, 1795632207804, 1795632207804, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (39, '01a21405-17c7-71af-985c-170e9914e36a', 'off', 'switched-off-1', '\xeb5c45d2ac27bf8ee9dea7c8fca3c7dd95e37d67f6b5b395f8a57c519976b51b', 29, 'user', NULL, 'switched-off: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"switched-off"}', true, NULL, 1795632207815, 1795632207815, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (41, '01a21405-17cd-7107-8628-4e7f98e6e68e', 'merging', 'still-merging-2', '\xd0ba518fc33684bf630793e508c32e81f4849bba9230a8b7c593aad993b3d614', 30, 'user', NULL, 'still-merging: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"still-merging"}', false, NULL, 1795632207822, 1795632207822, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (44, '01a21405-17eb-71c8-8657-8560fba8bd20', 'bridge', 'waited-answered-1', '\x3bf211bc767d5de9ec3a327b4891cf78716f6ed9e6933c378459221134aee46c', 33, 'user', NULL, 'waited-answered: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"waited-answered"}', false, NULL, 1795632207852, 1795632207852, 1795632228852, 'answered', NULL, NULL, '01a21405-17f1-77bc-a6f6-246d155cfde4', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (28, '01a21405-16ec-700d-8918-238df63036e2', 'bridge', 'unknown-later-2', '\x05b8a9e05e5847c462df9fcaa4d55026d2b9d89da0b20bff81c9df15c0db3a30', 7, 'user', NULL, 'unknown-later: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"unknown-later"}', false, NULL, 1795632207597, 1795632207597, NULL, 'asking', NULL, NULL, '01a21405-16f2-716c-88e6-895f618b4dc8', 0, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (36, '01a21405-17be-71a5-872e-1e59bdbca289', 'bridge', 'open-first-3', '\x5c86fdef2483d0695dbb5071728bced7fc1026eafd3d1d9f0398ff5b4c1af9bd', 25, 'user', NULL, 'open-first: question 3', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"open-first"}', false, NULL, 1795632207807, 1795632207807, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (38, '01a21405-17c4-75d3-8787-4c982a9f6297', 'whatsapp', 'wamid.16505550002.2', '\xd9b9b88bd5f65df949e0f55c263769eaa7046d435ffcb5b4f7153caba152fdfd', 27, 'user', '16505550002', '16505550002: question 2', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"message_id":"wamid.16505550002.2","to":"16505550002"}', false, 1795632202000, 1795632207813, 1795632207813, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (40, '01a21405-17ca-7112-a744-d8663b4374d9', 'merging', 'still-merging-1', '\x8823ad09cb560006f2a44b3f9044ac475da5fb490867203f94ee97d07ab68d58', 30, 'user', NULL, 'still-merging: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"still-merging"}', false, NULL, 1795632207819, 1795632207819, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);
INSERT INTO fini_bridge.messages OVERRIDING SYSTEM VALUE VALUES (43, '01a21405-17e7-71ad-959b-883f5e4a74a8', 'throttled', 'not-begun-1', '\xdf8efdc71e3c6d029c5d2a2c60203b21ea5ebb9ea77fc51680af362568c536a7', 32, 'user', NULL, 'not-begun: question 1', '{}', '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', '{"chat":"not-begun"}', false, NULL, 1795632207847, 1795632207847, NULL, 'received', NULL, NULL, NULL, NULL, NULL, false, false);


--
-- Data for Name: meta; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.meta VALUES ('installation_key', '\x60590908c0f90ab5594bc4089a18f0acfd0330ac9fcd8213894bda1d36c12045');


--
-- Data for Name: parts; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (6, '01a21404-d61f-72ed-902b-b02247bdfdee', 'shop', 6, '01a21404-d5f9-764a-8f07-bd77eaec95df', 0, 'message', '{"text":"Re: served: question 1"}', '{"chat":"served","id":"served-1"}', 1795632191009, NULL, 'sent', 1, 1795632191044, NULL, NULL, NULL, 1795632191052, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (1, '01a21404-ae50-77f7-a3d5-3dda0b29eccb', 'bridge', 1, '01a21404-ae45-744d-baae-786c7a34ddd0', 0, 'message', NULL, NULL, 1795632180816, NULL, 'sent', 1, 1795632180841, NULL, NULL, NULL, 1795632180843, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (5, '01a21404-d619-7262-9887-0cdc9b3fd37b', 'whatsapp', 5, '01a21404-d5f9-764a-8f07-bd761ed81105', 0, 'message', '"Re: 16505550001: question 1"', '{"message_id":"wamid.16505550001.1","to":"16505550001"}', 1795632191002, NULL, 'sent', 1, 1795632191042, 'wamid.SENT11', NULL, NULL, 1795632191052, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (2, '01a21404-d5d0-7196-a326-a230313bf36e', 'bridge', 2, '01a21404-d5be-73ba-b07e-1a67097d62b5', 0, 'message', '{"in_reply_to":["greeted-1"],"text":"Re: greeted: question 1","type":"message"}', '{"chat":"greeted"}', 1795632190929, NULL, 'sent', 1, 1795632190962, NULL, NULL, NULL, 1795632190976, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (3, '01a21404-d5e1-73d8-b74c-bc8a0fe4bf72', 'slack', 3, '01a21404-d5ca-7462-9cdd-85b1f2f2fd05', 0, 'message', '"Re: D00ANSWERED1: question 1"', '{"channel":"D00ANSWERED1","thread_ts":null}', 1795632190946, NULL, 'sent', 1, 1795632190984, '1790000000.000008', NULL, NULL, 1795632190994, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (4, '01a21404-d5ec-75d7-9055-07571992d533', 'telegram', 4, '01a21404-d5d6-70bb-a210-cb7a15442b36', 0, 'message', '{"html":"Re: 5000001: question 1","plain":"Re: 5000001: question 1"}', '{"chat_id":5000001}', 1795632190957, NULL, 'sent', 1, 1795632190990, '9', NULL, NULL, 1795632190997, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (11, '01a21404-d674-75e0-8a82-502004ab30e4', 'team', 10, '01a21404-d64c-763b-9a43-75e1946a182a', 0, 'message', '{"text":"Re: shared-room: question 1"}', '{"chat":"shared-room","id":"shared-room-1"}', 1795632191109, NULL, 'sent', 1, 1795632191128, NULL, NULL, NULL, 1795632191132, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (7, '01a21404-d624-7068-a5b5-c3a86666c916', 'bridge', 7, '01a21404-d60f-75d1-92e9-7a00329e76cd', 0, 'message', '{"in_reply_to":["unknown-later-1"],"text":"Re: unknown-later: question 1","type":"message"}', '{"chat":"unknown-later"}', 1795632191012, NULL, 'sent', 1, 1795632191059, NULL, NULL, NULL, 1795632191066, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (9, '01a21404-d650-745e-82c1-2a3e10ecfd0f', 'bridge', 9, '01a21404-d631-71a5-99ec-e3d0347651b2', 0, 'message', '{"in_reply_to":["begun-anew-1"],"text":"Re: begun-anew: question 1","type":"message"}', '{"chat":"begun-anew"}', 1795632191057, NULL, 'sent', 1, 1795632191095, NULL, NULL, NULL, 1795632191098, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (12, '01a21404-d8bd-7410-bed5-0ff151ef3f54', 'team', 10, '01a21404-d8ad-72dd-8de0-74bdb8cc2ce0', 0, 'message', '{"text":"Re: shared-room: question 2"}', '{"chat":"shared-room","id":"shared-room-2"}', 1795632191678, NULL, 'sent', 1, 1795632191692, NULL, NULL, NULL, 1795632191694, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (13, '01a21404-d921-7410-8b82-6da6f190c099', 'limited', 11, '01a21404-d91b-7193-a2dc-6f192e89522e', 0, 'message', '{"in_reply_to":["talkative-2"],"text":"Re: talkative: question 2","type":"message"}', '{"chat":"talkative"}', 1795632191785, NULL, 'sent', 1, 1795632191809, NULL, NULL, NULL, 1795632191811, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (14, '01a21404-d960-727a-b65e-3577333a77f6', 'bridge', 9, '01a21404-d960-727a-b65e-3576c615b023', 0, 'no_reply', '{"in_reply_to":["begun-anew-2"],"type":"no_reply"}', '{"chat":"begun-anew"}', 1795632191841, NULL, 'sent', 1, 1795632191863, NULL, NULL, NULL, 1795632191871, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (18, '01a21404-da2c-7482-afa9-166d4cf4f466', 'careful', 17, '01a21404-da18-711a-91b1-d2dbc865ce79', 0, 'message', '{"text":"first first first first first first first first first first"}', '{"chat":"held-answer","id":"held-answer-1"}', 1795632192045, NULL, 'held', 1, 1795632192057, NULL, 'send_unknown', 'It may have been delivered: timed out.', NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (19, '01a21404-da2c-7482-afa9-166e87b21239', 'careful', 17, '01a21404-da18-711a-91b1-d2dbc865ce79', 0, 'message', '{"text":"second second second second second second second second second second"}', '{"chat":"held-answer","id":"held-answer-1"}', 1795632192045, NULL, 'held', 0, NULL, NULL, 'earlier_part_held', NULL, NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (21, '01a21404-eb72-74be-91ba-6db8af1592ae', 'bridge', 15, '01a21404-da0a-728b-830f-54303eaf0e14', 0, 'failed', '{"in_reply_to":["held-question-1"],"type":"failed"}', '{"chat":"held-question"}', 1795632196466, NULL, 'sent', 1, 1795632196475, NULL, NULL, NULL, 1795632196478, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (8, '01a21404-d642-7570-88fd-006147bc0be2', 'bridge', 8, '01a21404-d61f-72ed-902b-b0214307e1cc', 0, 'message', '{"in_reply_to":["open-later-1"],"text":"Re: open-later: question 1","type":"message"}', '{"chat":"open-later"}', 1795632191043, NULL, 'sent', 1, 1795632191094, NULL, NULL, NULL, 1795632191098, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (25, '01a21405-161b-7377-a2ad-123d52eb6906', 'careful', 19, '01a21405-15f4-738d-b4b7-523da5f46005', 0, 'message', '{"text":"second second second second second second second second second second"}', '{"chat":"half-delivered","id":"half-delivered-1"}', 1795632207387, NULL, 'pending', 1, 1795632207405, NULL, 'http_503', '{}', NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (10, '01a21404-d67b-72d8-abd6-3995c95296aa', 'limited', 11, '01a21404-d65c-7595-af96-72b2aeb0edbe', 0, 'message', '{"in_reply_to":["talkative-1"],"text":"Re: talkative: question 1","type":"message"}', '{"chat":"talkative"}', 1795632191100, NULL, 'sent', 1, 1795632191130, NULL, NULL, NULL, 1795632191132, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (20, '01a21404-eb72-74be-91ba-6db77bce057e', 'bridge', 16, '01a21404-da0f-7616-9314-e900e073cfbb', 0, 'failed', '{"in_reply_to":["given-up-1"],"type":"failed"}', '{"chat":"given-up"}', 1795632196466, NULL, 'sent', 1, 1795632196475, NULL, NULL, NULL, 1795632196479, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (15, '01a21404-d96d-7172-bd48-ad626f886575', 'bridge', 12, '01a21404-d96d-7172-bd48-ad6126c07d62', 0, 'no_reply', '{"in_reply_to":["blank-1"],"type":"no_reply"}', '{"chat":"blank"}', 1795632191854, NULL, 'sent', 1, 1795632191890, NULL, NULL, NULL, 1795632191891, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (16, '01a21404-d98d-7412-8770-ec7d6aace889', 'bridge', 13, '01a21404-d980-72ac-b0b0-c433c847a1b5', 0, 'failed', '{"in_reply_to":["rejected-question-1"],"type":"failed"}', '{"chat":"rejected-question"}', 1795632191885, NULL, 'sent', 1, 1795632191900, NULL, NULL, NULL, 1795632191903, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (17, '01a21404-d9d7-7074-8b1e-16913dc1f5ab', 'shop', 14, '01a21404-d9cc-7607-9406-7188ed32450e', 0, 'message', '{"text":"Re: refused-answer: question 1"}', '{"chat":"refused-answer","id":"refused-answer-1"}', 1795632191960, NULL, 'failed', 1, 1795632191977, NULL, 'http_404', '{}', NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (23, '01a21405-161a-73b2-b217-3a06b2cd9375', 'shop', 20, '01a21405-1600-7487-8e4b-b2825b61715d', 0, 'message', '{"text":"Re: not-delivered: question 1"}', '{"chat":"not-delivered","id":"not-delivered-1"}', 1795632207387, NULL, 'pending', 1, 1795632207408, NULL, 'http_503', '{}', NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (22, '01a21405-1593-774d-9e69-e6269dd96c44', 'bridge', 18, '01a21405-1584-7247-b135-e59aff5bb322', 0, 'message', '{"in_reply_to":["undiscovered-1"],"text":"Re: undiscovered: question 1","type":"message"}', '{"chat":"undiscovered"}', 1795632207252, NULL, 'sent', 1, 1795632207274, NULL, NULL, NULL, 1795632207276, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (28, '01a21405-17f7-77ac-b470-4934f67b1cc4', 'bridge', 33, '01a21405-17f1-77bc-a6f6-246d155cfde4', 0, 'message', '{"in_reply_to":["waited-answered-1"],"text":"Re: waited-answered: question 1","type":"message"}', '{"chat":"waited-answered"}', 1795632207864, 1795632228852, 'pending', 0, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (24, '01a21405-161b-7377-a2ad-123c07da26f0', 'careful', 19, '01a21405-15f4-738d-b4b7-523da5f46005', 0, 'message', '{"text":"first first first first first first first first first first"}', '{"chat":"half-delivered","id":"half-delivered-1"}', 1795632207387, NULL, 'sent', 1, 1795632207401, NULL, NULL, NULL, 1795632207403, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (26, '01a21405-1660-7331-bb77-775712cb953a', 'bridge', 21, '01a21405-1654-704e-849a-936a4483167f', 0, 'message', '{"in_reply_to":["being-sent-1"],"text":"Re: being-sent: question 1","type":"message"}', '{"chat":"being-sent"}', 1795632207456, NULL, 'sending', 1, 1795632207466, NULL, NULL, NULL, NULL, NULL);
INSERT INTO fini_bridge.parts OVERRIDING SYSTEM VALUE VALUES (27, '01a21405-169b-7324-a545-e461c4bc5226', 'shop', 22, '01a21405-1693-7048-a8cc-ef51a46611aa', 0, 'message', '{"text":"Re: in-the-air: question 1"}', '{"chat":"in-the-air","id":"in-the-air-1"}', 1795632207515, NULL, 'sending', 1, 1795632207533, NULL, NULL, NULL, NULL, NULL);


--
-- Data for Name: refinery_schema_history; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.refinery_schema_history VALUES (1, 'messages_lanes_turns_outbox', '2026-11-25T18:43:00Z', '15228654225291262232');
INSERT INTO fini_bridge.refinery_schema_history VALUES (2, 'retention', '2026-11-25T18:43:00Z', '539736106067600288');
INSERT INTO fini_bridge.refinery_schema_history VALUES (3, 'limits', '2026-11-25T18:43:00Z', '529761573321155115');


--
-- Data for Name: schedule; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.schedule VALUES (1, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (1, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (2, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (3, 'turns', 'slack', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (4, 'turns', 'telegram', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (2, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (3, 'deliveries', 'slack', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (4, 'deliveries', 'telegram', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (6, 'turns', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (5, 'turns', 'whatsapp', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (6, 'deliveries', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (5, 'deliveries', 'whatsapp', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (7, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (8, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (9, 'deliveries', 'bridge', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (14, 'turns', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (14, 'deliveries', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (7, 'turns', 'bridge', 1795632208609, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (8, 'turns', 'bridge', 1795632216699, '51015365-d150-40ea-a795-55a60309be12', 2, false);
INSERT INTO fini_bridge.schedule VALUES (10, 'turns', 'team', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (10, 'deliveries', 'team', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (11, 'turns', 'limited', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (11, 'deliveries', 'limited', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (9, 'turns', 'bridge', NULL, NULL, 2, false);
INSERT INTO fini_bridge.schedule VALUES (12, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (12, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (13, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (13, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (17, 'turns', 'careful', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (15, 'turns', 'bridge', NULL, NULL, 6, false);
INSERT INTO fini_bridge.schedule VALUES (16, 'turns', 'bridge', NULL, NULL, 6, false);
INSERT INTO fini_bridge.schedule VALUES (15, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (16, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (17, 'deliveries', 'careful', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (18, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (18, 'deliveries', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (19, 'turns', 'careful', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (19, 'deliveries', 'careful', 1795632209252, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (21, 'deliveries', 'bridge', 1795632216459, '51015365-d150-40ea-a795-55a60309be12', 1, false);
INSERT INTO fini_bridge.schedule VALUES (21, 'turns', 'bridge', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (22, 'turns', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (22, 'deliveries', 'shop', 1795632216519, '51015365-d150-40ea-a795-55a60309be12', 1, false);
INSERT INTO fini_bridge.schedule VALUES (23, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (23, 'turns', 'bridge', 1795632208556, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (24, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (24, 'turns', 'bridge', 1795632208644, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (25, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (25, 'turns', 'bridge', 1795632216673, '51015365-d150-40ea-a795-55a60309be12', 1, false);
INSERT INTO fini_bridge.schedule VALUES (26, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (26, 'turns', 'bridge', 1795632216726, '51015365-d150-40ea-a795-55a60309be12', 1, false);
INSERT INTO fini_bridge.schedule VALUES (27, 'deliveries', 'whatsapp', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (27, 'turns', 'whatsapp', 1795632216757, '51015365-d150-40ea-a795-55a60309be12', 1, false);
INSERT INTO fini_bridge.schedule VALUES (28, 'deliveries', 'bridge', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (28, 'turns', 'bridge', 1795632216785, '51015365-d150-40ea-a795-55a60309be12', 1, false);
INSERT INTO fini_bridge.schedule VALUES (29, 'deliveries', 'off', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (29, 'turns', 'off', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (31, 'deliveries', 'throttled', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (20, 'turns', 'shop', NULL, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (20, 'deliveries', 'shop', 1795632209129, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (30, 'deliveries', 'merging', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (30, 'turns', 'merging', 1795632223819, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (32, 'deliveries', 'throttled', NULL, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (32, 'turns', 'throttled', 1795632207847, NULL, 0, false);
INSERT INTO fini_bridge.schedule VALUES (31, 'turns', 'throttled', 1795632207838, NULL, 1, false);
INSERT INTO fini_bridge.schedule VALUES (33, 'turns', 'bridge', 1795632216856, '51015365-d150-40ea-a795-55a60309be12', 1, false);
INSERT INTO fini_bridge.schedule VALUES (33, 'deliveries', 'bridge', 1795632228852, NULL, 0, false);


--
-- Data for Name: turns; Type: TABLE DATA; Schema: fini_bridge; Owner: -
--

INSERT INTO fini_bridge.turns VALUES ('01a21404-ae45-744d-baae-786c7a34ddd0', 1, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', NULL, NULL, NULL, 1795632180783, 1795632180808, 'answered', 1, 1795632180808, NULL, false, 0, NULL, NULL, 1795632180816, '[]', true, 'bridge', 'aac7725eb51a7713329abd74d49762c3');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d5be-73ba-b07e-1a67097d62b5', 2, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'greeted: question 1', '{}', '{"chat":"greeted"}', 1795632190891, 1795632190915, 'answered', 1, 1795632190915, NULL, false, 0, NULL, NULL, 1795632190929, '["user/message","finibot/message"]', false, 'bridge', 'ff2cfa896422fddbc31907f1fce77813');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d5ca-7462-9cdd-85b1f2f2fd05', 3, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'D00ANSWERED1: question 1', '{}', '{"channel":"D00ANSWERED1","thread_ts":null}', 1795632190907, 1795632190931, 'answered', 1, 1795632190931, NULL, false, 0, NULL, NULL, 1795632190946, '["user/message","finibot/message"]', false, 'slack', '95555ca0f99cd42768f4fdc88f6751fa');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d5d6-70bb-a210-cb7a15442b36', 4, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', '5000001: question 1', '{}', '{"chat_id":5000001}', 1795632190918, 1795632190942, 'answered', 1, 1795632190942, NULL, false, 0, NULL, NULL, 1795632190957, '["user/message","finibot/message"]', false, 'telegram', '759bd52de3d56cffafc06f8749734db2');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d5f9-764a-8f07-bd761ed81105', 5, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', '16505550001: question 1', '{}', '{"message_id":"wamid.16505550001.1","to":"16505550001"}', 1795632190932, 1795632190982, 'answered', 1, 1795632190982, NULL, false, 0, NULL, NULL, 1795632191002, '["user/message","finibot/message"]', false, 'whatsapp', '781e42a9a04de4020b6d0feef9a09cc7');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d5f9-764a-8f07-bd77eaec95df', 6, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'served: question 1', '{"email":"zoe@example.com"}', '{"chat":"served","id":"served-1"}', 1795632190948, 1795632190981, 'answered', 1, 1795632190981, NULL, false, 0, NULL, NULL, 1795632191009, '["user/message","finibot/message"]', false, 'shop', 'df563525657f326b751f35db7ab15d34');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d60f-75d1-92e9-7a00329e76cd', 7, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'unknown-later: question 1', '{}', '{"chat":"unknown-later"}', 1795632190957, 1795632190996, 'answered', 1, 1795632190996, NULL, false, 0, NULL, NULL, 1795632191012, '["user/message","finibot/message"]', false, 'bridge', '384c3cd12e90ada5e5acf2aa13c92ce1');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d61f-72ed-902b-b0214307e1cc', 8, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'open-later: question 1', '{}', '{"chat":"open-later"}', 1795632190976, 1795632191019, 'answered', 1, 1795632191019, NULL, false, 0, NULL, NULL, 1795632191043, '["user/message","finibot/message"]', false, 'bridge', '94d64cdffda7981169080759c06cda80');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d631-71a5-99ec-e3d0347651b2', 9, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'begun-anew: question 1', '{}', '{"chat":"begun-anew"}', 1795632190998, 1795632191036, 'answered', 1, 1795632191036, NULL, false, 0, NULL, NULL, 1795632191057, '["user/message","finibot/message"]', false, 'bridge', 'c9a680be8a9e490588a89531107555e9');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d64c-763b-9a43-75e1946a182a', 10, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'shared-room: question 1', '{"email":"person-1@example.com"}', '{"chat":"shared-room","id":"shared-room-1"}', 1795632191023, 1795632191064, 'answered', 1, 1795632191064, NULL, false, 0, NULL, NULL, 1795632191109, '["user/message","finibot/message"]', false, 'team', '19418fa1dd20d224b5837403138c4f2d');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d91b-7193-a2dc-6f192e89522e', 11, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'talkative: question 2', '{}', '{"chat":"talkative"}', 1795632191748, 1795632191772, 'answered', 1, 1795632191772, NULL, false, 0, NULL, NULL, 1795632191785, '["user/message","finibot/message"]', false, 'limited', 'ee360e9dd311294028d3ad34a7518c46');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d980-72ac-b0b0-c433c847a1b5', 13, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'rejected-question: question 1', '{}', '{"chat":"rejected-question"}', 1795632191852, 1795632191879, 'failed', 1, 1795632191879, NULL, false, 0, 'fini_400', 'simulated fault', 1795632191885, '[]', false, 'bridge', '5fb0c8e4d0eee647005507911666069f');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d9cc-7607-9406-7188ed32450e', 14, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'refused-answer: question 1', '{"email":"zoe@example.com"}', '{"chat":"refused-answer","id":"refused-answer-1"}', 1795632191935, 1795632191950, 'answered', 1, 1795632191950, NULL, false, 0, NULL, NULL, 1795632191960, '["user/message","finibot/message"]', false, 'shop', '6f3820c51932c51e02366bbf8f9db6f4');
INSERT INTO fini_bridge.turns VALUES ('01a21404-da0a-728b-830f-54303eaf0e14', 15, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'held-question: question 1', '{}', '{"chat":"held-question"}', 1795632192002, 1795632192016, 'held', 1, 1795632192016, 1795632192021, true, 0, 'stored_not_answered', 'Fini has the message but gave no answer within fini.settle.', 1795632196466, '["user/message"]', false, 'bridge', '45543d8a7d3a7ce98c308183bcf44d44');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d65c-7595-af96-72b2aeb0edbe', 11, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'talkative: question 1', '{}', '{"chat":"talkative"}', 1795632191041, 1795632191080, 'answered', 1, 1795632191080, NULL, false, 0, NULL, NULL, 1795632191100, '["user/message","finibot/message"]', false, 'limited', 'ee360e9dd311294028d3ad34a7518c46');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d8ad-72dd-8de0-74bdb8cc2ce0', 10, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'shared-room: question 2', '{}', '{"chat":"shared-room","id":"shared-room-2"}', 1795632191637, 1795632191670, 'answered', 1, 1795632191670, NULL, false, 0, NULL, NULL, 1795632191678, '["user/message","finibot/message"]', false, 'team', 'dd15ee214a7de365cb17d53b36cef3ca');
INSERT INTO fini_bridge.turns VALUES ('01a21404-d960-727a-b65e-3576c615b023', 9, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', NULL, NULL, NULL, 1795632191831, 1795632191841, 'dropped', 0, NULL, NULL, false, 0, 'reset', NULL, 1795632191841, '[]', false, NULL, NULL);
INSERT INTO fini_bridge.turns VALUES ('01a21404-d96d-7172-bd48-ad6126c07d62', 12, 0, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', NULL, NULL, NULL, 1795632191837, 1795632191854, 'dropped', 0, NULL, NULL, false, 0, 'blank', NULL, 1795632191854, '[]', false, NULL, NULL);
INSERT INTO fini_bridge.turns VALUES ('01a21404-da0f-7616-9314-e900e073cfbb', 16, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'given-up: question 1', '{}', '{"chat":"given-up"}', 1795632192006, 1795632192019, 'held', 1, 1795632192019, 1795632192027, true, 0, 'stored_not_answered', 'Fini has the message but gave no answer within fini.settle.', 1795632196466, '["user/message"]', false, 'bridge', '16752593c7088df5d4636a1916eb0e98');
INSERT INTO fini_bridge.turns VALUES ('01a21404-da18-711a-91b1-d2dbc865ce79', 17, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'held-answer: question 1', '{"email":"zoe@example.com"}', '{"chat":"held-answer","id":"held-answer-1"}', 1795632192012, 1795632192029, 'answered', 1, 1795632192029, NULL, false, 0, NULL, NULL, 1795632192045, '["user/message","finibot/message"]', false, 'careful', 'a9b9248592938224faf0f53370996228');
INSERT INTO fini_bridge.turns VALUES ('01a21405-1584-7247-b135-e59aff5bb322', 18, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'undiscovered: question 1', '{}', '{"chat":"undiscovered"}', 1795632207212, 1795632207245, 'answered', 1, 1795632207245, NULL, false, 0, NULL, NULL, 1795632207252, '["user/message","finibot/message"]', false, 'bridge', '2f232d2aee5825965af52f683d0f4a8f');
INSERT INTO fini_bridge.turns VALUES ('01a21405-1600-7487-8e4b-b2825b61715d', 20, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'not-delivered: question 1', '{"email":"zoe@example.com"}', '{"chat":"not-delivered","id":"not-delivered-1"}', 1795632207347, 1795632207363, 'answered', 1, 1795632207363, NULL, false, 0, NULL, NULL, 1795632207387, '["user/message","finibot/message"]', false, 'shop', 'a7e764d01fbaaf9b638c5c4a8f5fd75a');
INSERT INTO fini_bridge.turns VALUES ('01a21405-15f4-738d-b4b7-523da5f46005', 19, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'half-delivered: question 1', '{"email":"zoe@example.com"}', '{"chat":"half-delivered","id":"half-delivered-1"}', 1795632207340, 1795632207355, 'answered', 1, 1795632207355, NULL, false, 0, NULL, NULL, 1795632207387, '["user/message","finibot/message"]', false, 'careful', '3aae5650a163dd366229fbe16e445d80');
INSERT INTO fini_bridge.turns VALUES ('01a21405-1654-704e-849a-936a4483167f', 21, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'being-sent: question 1', '{}', '{"chat":"being-sent"}', 1795632207438, 1795632207448, 'answered', 1, 1795632207448, NULL, false, 0, NULL, NULL, 1795632207456, '["user/message","finibot/message"]', false, 'bridge', '0ab2142d2630ebc50d6e34c2c3ff74a7');
INSERT INTO fini_bridge.turns VALUES ('01a21405-1693-7048-a8cc-ef51a46611aa', 22, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'in-the-air: question 1', '{"email":"zoe@example.com"}', '{"chat":"in-the-air","id":"in-the-air-1"}', 1795632207489, 1795632207509, 'answered', 1, 1795632207509, NULL, false, 0, NULL, NULL, 1795632207515, '["user/message","finibot/message"]', false, 'shop', 'dba84315e6bf7157fbd7764eb98475ab');
INSERT INTO fini_bridge.turns VALUES ('01a21405-16bc-737e-8f5e-21926572992e', 23, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'unknown-first: question 1', '{}', '{"chat":"unknown-first"}', 1795632207539, 1795632207550, 'unknown', 1, 1795632207550, 1795632207556, true, 0, 'fini_500', NULL, NULL, '[]', false, 'bridge', '5ece83926094efa96300d4c131f3b3a8');
INSERT INTO fini_bridge.turns VALUES ('01a21405-16f2-716c-88e6-895f618b4dc8', 7, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'unknown-later: question 2', '{}', '{"chat":"unknown-later"}', 1795632207597, 1795632207603, 'unknown', 1, 1795632207603, 1795632207609, true, 0, 'fini_500', NULL, NULL, '[]', false, 'bridge', '384c3cd12e90ada5e5acf2aa13c92ce1');
INSERT INTO fini_bridge.turns VALUES ('01a21405-170e-77f9-991e-5406eb3335e6', 24, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'unknown-nothing: question 1', '{}', '{"chat":"unknown-nothing"}', 1795632207617, 1795632207640, 'unknown', 1, 1795632207640, 1795632207644, true, 0, 'fini_500', NULL, NULL, '[]', false, 'bridge', '6c1bb4562c8ed09e9e29dd63f8187146');
INSERT INTO fini_bridge.turns VALUES ('01a21405-173b-73cf-9cee-f868477cf644', 25, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'open-first: question 1', '{}', '{"chat":"open-first"}', 1795632207669, 1795632207678, 'asking', 1, 1795632207678, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'bridge', 'fcb2265ee933b6a046acab284113b418');
INSERT INTO fini_bridge.turns VALUES ('01a21405-175b-742f-8f36-0d564a778589', 8, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'open-later: question 2', '{}', '{"chat":"open-later"}', 1795632207696, 1795632207708, 'asking', 1, 1795632207708, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'bridge', '94d64cdffda7981169080759c06cda80');
INSERT INTO fini_bridge.turns VALUES ('01a21405-1791-707c-b311-1e3df52f240e', 27, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', '16505550002: question 1', '{}', '{"message_id":"wamid.16505550002.1","to":"16505550002"}', 1795632207749, 1795632207763, 'asking', 1, 1795632207763, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'whatsapp', 'b13cc5574a7388defcb2f935f4dd6010');
INSERT INTO fini_bridge.turns VALUES ('01a21405-17d7-76b1-a4a4-f89cbf9f2b78', 31, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'throttled-chat: question 1', '{}', '{"chat":"throttled-chat"}', 1795632207825, 1795632207833, 'open', 1, 1795632207833, NULL, false, 0, 'fini_429', NULL, NULL, '[]', false, 'throttled', '508de3668d69ac0200a302b17c7d7d10');
INSERT INTO fini_bridge.turns VALUES ('01a21405-1771-7782-8eb1-47c622ad5e0b', 26, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'open-nothing: question 1', '{}', '{"chat":"open-nothing"}', 1795632207722, 1795632207731, 'asking', 1, 1795632207731, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'bridge', 'ec85add8bc48cd29486384a26b53a0f7');
INSERT INTO fini_bridge.turns VALUES ('01a21405-17ac-7076-8e37-2204e2c4b66b', 28, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'waited-asking: question 1', '{}', '{"chat":"waited-asking"}', 1795632207781, 1795632207790, 'asking', 1, 1795632207790, NULL, false, 0, NULL, NULL, NULL, '[]', false, 'bridge', '0fdd660c9f0d83055f32eaebdf746c6f');
INSERT INTO fini_bridge.turns VALUES ('01a21405-17f1-77bc-a6f6-246d155cfde4', 33, 1, '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', 'user', 'waited-answered: question 1', '{}', '{"chat":"waited-answered"}', 1795632207852, 1795632207859, 'answered', 1, 1795632207859, NULL, false, 0, NULL, NULL, 1795632207864, '["user/message","finibot/message"]', false, 'bridge', '4937ad2ba071d0656558fb5b0d76b58d');


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


